// SPDX-License-Identifier: GPL-3.0-or-later
// The violations, newest first: filters and position live in the address, pages are keyset pages.
import { useEffect, useState } from 'preact/hooks';
import { go, Link, parameters } from './location.jsx';
import { fromLocal, program, time, toLocal, utc, word, zone } from './format.js';
import { Problem, useQuery } from './query.jsx';

const FILTERS = ['from', 'to', 'channel', 'device', 'user', 'class', 'tier', 'layer', 'outcome', 'program'];
const CLASSES = ['use', 'bypass', 'tamper', 'exemption-use'];
const TIERS = ['program', 'name', 'address'];
const LAYERS = ['exec', 'dns', 'connect', 'tls', 'quic', 'http', 'browser', 'agent'];
const OUTCOMES = ['denied', 'killed', 'dropped', 'reset', 'passed', 'allowed'];
const PRESETS = [['1 hour', 1], ['24 hours', 24], ['7 days', 24 * 7], ['30 days', 24 * 30]];

const filters = () => Object.fromEntries(FILTERS.map((name) => [name, parameters.value.get(name) ?? '']));
const set = (name, value) => go({ ...filters(), [name]: value });

function Select({ name, label, options, kind }) {
  const value = filters()[name];
  const known = options.includes(value) || value === '' ? options : [value, ...options];
  return (
    <label>{label}
      <select aria-label={label} value={value} onChange={(event) => set(name, event.currentTarget.value)}>
        <option value="">all</option>
        {known.map((option) => <option value={option}>{kind ? word(kind, option) : option}</option>)}
      </select>
    </label>
  );
}

// One of many. The collector names a hundred, from what is typed on.
function Pick({ name, label, options, onType }) {
  const value = filters()[name];
  const [typed, setTyped] = useState(null);
  useEffect(() => setTyped(null), [value]);
  const type = (text) => { setTyped(text); onType({ [name]: text }); };
  return (
    <label>{label}
      <input type="search" list={`known-${name}`} value={typed ?? value} placeholder="all" autocomplete="off"
        onInput={(event) => type(event.currentTarget.value)} onChange={(event) => set(name, event.currentTarget.value)} />
      <datalist id={`known-${name}`}>{options.map((option) => <option value={option} />)}</datalist>
    </label>
  );
}

function Filters() {
  const [typed, setTyped] = useState({});
  const { data } = useQuery('/api/v1/facets', typed);
  const onType = (what) => setTyped((before) => ({ ...before, ...what }));
  const value = filters();
  const any = FILTERS.some((name) => value[name]);
  return (
    <form class="filters" aria-label="Filters" onSubmit={(event) => event.preventDefault()}>
      <fieldset>
        <legend>Time ({zone})</legend>
        {PRESETS.map(([label, hours]) => (
          <button type="button" onClick={() => go({ ...value, from: String(Date.now() - hours * 3600e3), to: '' })}>{label}</button>
        ))}
        <label>from<input type="datetime-local" value={toLocal(value.from)}
          onChange={(event) => set('from', fromLocal(event.currentTarget.value))} /></label>
        <label>to<input type="datetime-local" value={toLocal(value.to)}
          onChange={(event) => set('to', fromLocal(event.currentTarget.value))} /></label>
      </fieldset>
      <Select name="channel" label="Channel" options={data?.channels ?? []} />
      <Pick name="device" label="Device" options={data?.devices ?? []} onType={onType} />
      <Pick name="user" label="User" options={data?.users ?? []} onType={onType} />
      <Select name="class" label="Class" options={CLASSES} />
      <Select name="layer" label="Seen at" options={LAYERS} kind="layer" />
      <Select name="tier" label="Evidence" options={TIERS} kind="tier" />
      <Select name="outcome" label="What happened" options={OUTCOMES} kind="outcome" />
      <label>Program<input type="search" value={value.program} placeholder="path or name"
        onChange={(event) => set('program', event.currentTarget.value)} /></label>
      {any && <button type="button" onClick={() => go({})}>Clear all</button>}
    </form>
  );
}

function Row({ row }) {
  const detail = { view: 'violation', device: row.device, seq: row.seq };
  return (
    <tr class={row.class}>
      <td><Link to={detail} title={utc(row.time)}>{time(row.time)}</Link></td>
      <td><strong>{row.channel_name || row.channel || '–'}</strong></td>
      <td>{row.class}</td>
      <td>{row.user || (row.uid ?? '–')}</td>
      <td title={row.device}>{row.device_name || row.device}</td>
      <td title={row.program}>{program(row.program)}</td>
      <td>{word('layer', row.layer)}</td>
      <td>{word('tier', row.tier)}</td>
      <td>{word('outcome', row.outcome)}</td>
      <td class="number">{row.count}</td>
      <td class="number">{row.policy_serial || '–'}</td>
    </tr>
  );
}

function Count({ data }) {
  if (!data.total) return null;
  const number = data.total.toLocaleString();
  return <p role="status">{data.total_is_exact ? number : `more than ${number}`} {data.total === 1 ? 'record' : 'records'}</p>;
}

export function Violations() {
  const before = parameters.value.get('before') ?? '';
  const { data, error, loading } = useQuery('/api/v1/violations', { ...filters(), before, limit: '100' },
    { everyMs: before ? 0 : 5000 });
  const rows = data?.rows ?? [];
  return (
    <>
      <h1>Violations</h1>
      <Filters />
      <Problem error={error} />
      {data && <Count data={data} />}
      {data && rows.length === 0 && (
        <p class="empty" role="status">
          No violation matches. Whether every device was covered in this time stands under <Link to={{ view: 'devices' }}>Devices</Link>:
          an empty list proves something only with it; each device has a calendar there.
        </p>
      )}
      {rows.length > 0 && (
        <div class="scroll" tabindex="0" role="region" aria-label="Violations, table">
          <table aria-busy={loading}>
            <caption>Newest first. One row may stand for several attempts; times in {zone}.</caption>
            <thead>
              <tr>
                <th scope="col" aria-sort="descending">Time</th><th scope="col">Channel</th><th scope="col">Class</th>
                <th scope="col">User</th><th scope="col">Device</th><th scope="col">Program</th><th scope="col">Seen at</th>
                <th scope="col">Evidence</th><th scope="col">What happened</th><th scope="col" class="number">Attempts</th>
                <th scope="col" class="number">Policy</th>
              </tr>
            </thead>
            <tbody>{rows.map((row) => <Row key={`${row.device}:${row.seq}`} row={row} />)}</tbody>
          </table>
        </div>
      )}
      <nav class="pages" aria-label="Pages">
        {before && <button type="button" onClick={() => history.back()}>Newer</button>}
        {data?.next && <Link class="button" to={{ ...filters(), before: data.next }}>Older</Link>}
      </nav>
    </>
  );
}
