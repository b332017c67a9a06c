// SPDX-License-Identifier: GPL-3.0-or-later
// The devices and whether each of them is covered now: a zero is worth what its coverage is worth.
import { Link } from './location.jsx';
import { ago, time, utc } from './format.js';
import { Problem, useQuery } from './query.jsx';

function state(row) {
  if (row.problem) return ['problem', row.problem];
  if (!row.policy_serial) return ['problem', 'no policy: watching only'];
  if (row.mode !== 'enforce') return ['warning', `mode ${row.mode}`];
  if (row.lost) return ['warning', `${row.lost} events lost`];
  return ['good', 'covered'];
}

function Row({ row }) {
  const [level, text] = state(row);
  return (
    <tr>
      <th scope="row"><Link to={{ view: 'device', device: row.device }} title={row.device}>{row.name || row.device}</Link></th>
      <td class="text"><span class={level}>{text}</span></td>
      <td title={utc(row.last_seen)}>{ago(row.last_seen)}</td>
      <td class="number">{row.policy_serial || '–'}</td>
      <td>{row.mode ?? '–'}</td>
      <td class="text">{row.tags.join(', ') || '–'}</td>
      <td><code>{row.sensors ?? '–'}</code></td>
      <td class="number">{row.next_seq - 1}</td>
      <td class="number">{row.queue ?? '–'}</td>
      <td class="number">{row.lost ?? '–'}</td>
      <td>{row.agent_version ?? '–'}</td>
      <td title={utc(row.enrolled)}>{time(row.enrolled)}</td>
    </tr>
  );
}

export function Devices() {
  const { data, error, loading } = useQuery('/api/v1/devices', {}, { everyMs: 10000 });
  const rows = data?.rows ?? [];
  return (
    <>
      <h1>Devices</h1>
      <Problem error={error} />
      {data && rows.length === 0 && <p class="empty" role="status">No device is enrolled. Make a token with <code>onchannel-collector token</code>.</p>}
      {rows.length > 0 && (
        <div class="scroll" tabindex="0" role="region" aria-label="Devices, table">
          <table aria-busy={loading}>
            <caption>{rows.length === 1 ? 'One device' : `${rows.length} devices`}.</caption>
            <thead>
              <tr>
                <th scope="col">Device</th><th scope="col">State</th><th scope="col">Last seen</th>
                <th scope="col" class="number">Policy</th><th scope="col">Mode</th><th scope="col">Tags</th><th scope="col">Sensors</th>
                <th scope="col" class="number">Records</th><th scope="col" class="number">Waiting</th>
                <th scope="col" class="number">Lost</th><th scope="col">Agent</th><th scope="col">Enrolled</th>
              </tr>
            </thead>
            <tbody>{rows.map((row) => <Row key={row.device} row={row} />)}</tbody>
          </table>
        </div>
      )}
    </>
  );
}
