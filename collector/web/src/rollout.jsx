// SPDX-License-Identifier: GPL-3.0-or-later
// How a policy gets on: in the ring that has it first, and in the rest of the fleet.
import { ago, time, utc } from './format.js';
import { Problem, useQuery } from './query.jsx';

const NAMES_SHOWN = 5;

function Stage({ name, stage }) {
  const refused = stage.refused.reduce((n, r) => n + r.devices.length, 0);
  return (
    <tr>
      <th scope="row">{name}</th>
      <td class="number">{stage.serial || '–'}</td>
      <td class="number">{stage.devices}</td>
      <td class="number"><span class={stage.devices && stage.applied === stage.devices ? 'good' : ''}>{stage.applied}</span></td>
      <td class="number">{refused ? <span class="problem">{refused}</span> : 0}</td>
      <td class="number">{stage.waiting}</td>
      <td class="number">{stage.silent ? <span class="warning">{stage.silent}</span> : 0}</td>
      <td class="number">{stage.violations?.blocked ?? '–'}</td>
      <td class="number">{stage.violations?.would_block ?? '–'}</td>
    </tr>
  );
}

function Refused({ stages }) {
  const list = stages.flatMap((s) => s.refused);
  if (list.length === 0) return null;
  return (
    <section aria-labelledby="refused">
      <h2 id="refused">Refused, and why</h2>
      <ul>{list.map(({ reason, devices }) => (
        <li key={reason}><span class="problem">{reason}</span><br />
          {devices.length === 1 ? 'one device' : `${devices.length} devices`}: {devices.slice(0, NAMES_SHOWN).join(', ')}{devices.length > NAMES_SHOWN && ', …'}</li>))}
      </ul>
    </section>
  );
}

function About({ data }) {
  if (!data.ring)
    return (
      <p class="empty" role="status">
        No rollout is under way: all devices are given the same policy{data.others.serial ? `, serial ${data.others.serial}` : ''}. One is started
        with <code>onchannel-collector rollout DIR start FILE --back FILE --share 5</code>.
      </p>
    );
  const whom = [data.per_mille > 0 && `${data.per_mille / 10} % of the devices`, ...data.devices.map((d) => `those named ${d}`)].filter(Boolean).join(' and ');
  return (
    <>
      <p>
        Serial <strong>{data.serial}</strong> is given to {whom} since <time datetime={utc(data.since)} title={utc(data.since)}>{time(data.since)}</time> ({ago(data.since)});
        everyone else has {data.base ? `serial ${data.base}` : 'none'}. The way back is serial {data.back}, signed before it began.
      </p>
      <p>Where the collector runs: <code>rollout DIR widen --share 50</code>, <code>rollout DIR finish</code>, or <code>rollout DIR back</code>.</p>
    </>
  );
}

export function Rollout() {
  const { data, error } = useQuery('/api/v1/rollout', {}, { everyMs: 10000 });
  const stages = data ? [data.ring, data.others].filter(Boolean) : [];
  return (
    <>
      <h1>Rollout</h1>
      <Problem error={error} />
      {data && <About data={data} />}
      {data && (
        <div class="scroll" tabindex="0" role="region" aria-label="Rings, table">
          <table>
            <caption>Blocked and would have blocked: attempts recorded under this serial since the rollout began. Silent: not heard of for 15 minutes.</caption>
            <thead><tr><th scope="col">Ring</th><th scope="col" class="number">Policy</th><th scope="col" class="number">Devices</th>
              <th scope="col" class="number">Applied</th><th scope="col" class="number">Refused</th><th scope="col" class="number">Not yet</th>
              <th scope="col" class="number">Silent</th><th scope="col" class="number">Blocked</th><th scope="col" class="number">Would have blocked</th></tr></thead>
            <tbody>
              {data.ring && <Stage name="First ring" stage={data.ring} />}
              <Stage name={data.ring ? 'Everyone else' : 'Everyone'} stage={data.others} />
            </tbody>
          </table>
        </div>
      )}
      {data && <Refused stages={stages} />}
    </>
  );
}
