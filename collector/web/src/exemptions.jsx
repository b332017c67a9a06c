// SPDX-License-Identifier: GPL-3.0-or-later
// Who asked, what was granted, until when; an admin grants, declines and revokes.
import { useEffect, useRef, useState } from 'preact/hooks';
import { post } from './api.js';
import { ago, fromLocal, time, toLocal, utc, zone } from './format.js';
import { Link } from './location.jsx';
import { Problem, useQuery } from './query.jsx';
import { session } from './session.js';
import { Signing } from './signing.jsx';

const HOURS = [[1, '1 hour'], [4, '4 hours'], [8, '8 hours'], [24, '1 day'], [168, '1 week'], [720, '30 days']];
const STATES = { current: ['good', 'in force'], future: ['', 'not yet'], ended: ['', 'over'], revoked: ['warning', 'revoked'] };
const EMPTY = { channel: '', user: '', unixgroup: '', device: '', hours: '8', until: '', reason: '', request: null };
const names = (text) => text.split(/[\s,]+/).filter(Boolean);
const isAdmin = () => session.value?.role === 'admin';

const lasts = (hours) => (!hours ? 'not said' : hours % 24 === 0 ? `${hours / 24} d` : `${hours} h`);

// What the form says, as the collector takes it.
function body(wish) {
  const until = wish.until ? Number(fromLocal(wish.until)) : Date.now() + Number(wish.hours) * 3600e3;
  if (names(wish.channel).length === 0) throw new Error('Which channel?');
  if (!wish.reason.trim()) throw new Error('A reason is needed: auditors read it.');
  return {
    kind: 'exemption', channel: names(wish.channel), user: names(wish.user), unixgroup: names(wish.unixgroup), device: names(wish.device),
    until, reason: wish.reason.trim(), ...(wish.request ? { request: wish.request } : {}),
  };
}

function Grant({ wish, setWish, hasKey, channels, done }) {
  const input = (name, label, { wide, ...more } = {}) => (
    <label class={wide ? 'wide' : ''}>{label}<input value={wish[name]} onInput={(event) => setWish({ ...wish, [name]: event.currentTarget.value })} {...more} /></label>
  );
  const box = useRef(null);
  useEffect(() => { if (wish.request) box.current.focus(); }, [wish.request]);
  return (
    <section aria-labelledby="grant" tabindex="-1" ref={box}>
      <h2 id="grant">Grant an exemption</h2>
      {wish.request && (
        <p>In answer to a request by <strong>{wish.user}</strong>. <button type="button" onClick={() => setWish(EMPTY)}>Not an answer</button></p>
      )}
      <form class="form" aria-labelledby="grant" onSubmit={(event) => event.preventDefault()}>
        {input('channel', 'Channels (ids)', { list: 'channels', required: true, placeholder: 'whatsapp' })}
        <datalist id="channels">{channels.map((c) => <option key={c} value={c} />)}</datalist>
        {input('user', 'Users (login names)', { placeholder: 'anna' })}
        {input('unixgroup', 'or groups')}
        {input('device', 'Only on devices (name, pattern or id)', { placeholder: 'any' })}
        <label>For
          <select value={wish.until ? '' : wish.hours} onChange={(event) => setWish({ ...wish, hours: event.currentTarget.value, until: '' })}>
            {wish.until && <option value="">until then</option>}
            {HOURS.some(([h]) => String(h) === wish.hours) ? null : <option value={wish.hours}>{lasts(Number(wish.hours))}</option>}
            {HOURS.map(([h, label]) => <option key={h} value={String(h)}>{label}</option>)}
          </select>
        </label>
        {input('until', `or until (${zone})`, { type: 'datetime-local', min: toLocal(String(Date.now())) })}
        {input('reason', 'Reason (auditors read it)', { required: true, maxLength: 200, wide: true })}
        <Signing hasKey={hasKey} make={() => body(wish)} verb="Grant" done={done} key={String(hasKey)} />
      </form>
    </section>
  );
}

function Decline({ request, done }) {
  const [reason, setReason] = useState('');
  const [error, setError] = useState(null);
  const decline = (event) => {
    event.preventDefault();
    post('/api/v1/requests', { device: request.device, seq: request.seq, reason }).then(done, setError);
  };
  return (
    <form class="inline" onSubmit={decline}>
      <label>Why not?<input value={reason} required maxLength="200" autofocus onInput={(event) => setReason(event.currentTarget.value)} /></label>
      <button>Decline</button>
      <Problem error={error} />
    </form>
  );
}

function Answer({ request, grant, reload }) {
  const [declining, setDeclining] = useState(false);
  const who = request.user || request.uid;
  if (request.answer?.exemption) return <span class="good" title={utc(request.answer.time)}>granted by {request.answer.who}: {request.answer.exemption}</span>;
  if (request.answer) return <span title={utc(request.answer.time)}>declined by {request.answer.who}: {request.answer.reason}</span>;
  if (!isAdmin()) return 'open';
  if (declining) return <Decline request={request} done={reload} />;
  return (
    <>
      <button type="button" aria-label={`Grant what ${who} asks for`} onClick={grant}>Grant…</button>{' '}
      <button type="button" aria-label={`Decline what ${who} asks for`} onClick={() => setDeclining(true)}>Decline…</button>
    </>
  );
}

function Requests({ rows, grant, reload }) {
  const [all, setAll] = useState(false);
  const open = rows.filter((r) => !r.answer);
  const shown = all ? rows : open;
  return (
    <section aria-labelledby="asked">
      <h2 id="asked">Asked for</h2>
      {shown.length === 0 && <p class="empty" role="status">Nobody waits for an answer. Employees ask with <code>onchannel request CHANNEL --reason TEXT</code>.</p>}
      {shown.length > 0 && (
        <div class="scroll" tabindex="0" role="region" aria-label="Requests, table">
          <table>
            <caption>{open.length === 1 ? 'One waits' : `${open.length} wait`} for an answer; of the last 30 days.</caption>
            <thead><tr><th scope="col">Who</th><th scope="col">Channel</th><th scope="col">Reason</th><th scope="col">For</th>
              <th scope="col">Device</th><th scope="col">Asked</th><th scope="col">Answer</th></tr></thead>
            <tbody>{shown.map((r) => (
              <tr key={`${r.device}.${r.seq}`}>
                <th scope="row">{r.user || r.uid}</th>
                <td>{r.channel_name || r.channel}</td>
                <td class="text">{r.reason}</td>
                <td>{lasts(r.hours)}</td>
                <td><Link to={{ view: 'device', device: r.device }} title={r.device}>{r.device_name || r.device}</Link></td>
                <td title={utc(r.time)}>{ago(r.time)}</td>
                <td class="text"><Answer request={r} reload={reload} grant={() => grant(r)} /></td>
              </tr>))}</tbody>
          </table>
        </div>
      )}
      {rows.length > open.length && <p><button type="button" aria-pressed={all} onClick={() => setAll(!all)}>{all ? 'Only open ones' : `Show the answered ones (${rows.length - open.length})`}</button></p>}
    </section>
  );
}

function Revoke({ row, hasKey, done, cancel }) {
  const [reason, setReason] = useState('');
  const make = () => {
    if (!reason.trim()) throw new Error('A reason is needed: auditors read it.');
    return { kind: 'revocation', revokes: [row.id], reason: reason.trim() };
  };
  return (
    <tr>
      <td colspan="9">
        <form class="form" aria-label={`Revoke ${row.id}`} onSubmit={(event) => event.preventDefault()}>
          <label>Why is {row.id} revoked?<input value={reason} required maxLength="200" autofocus onInput={(event) => setReason(event.currentTarget.value)} /></label>
          <Signing hasKey={hasKey} make={make} verb="Revoke for ever" done={done} />
          <button type="button" onClick={cancel}>Cancel</button>
        </form>
      </td>
    </tr>
  );
}

const Names = ({ list, none }) => (list?.length ? list.join(', ') : none);

function Row({ row, revoke }) {
  const waits = row.state === 'current' && row.devices_in_force === 0;
  const [level, text] = waits ? ['', 'handed out, no device has it yet'] : STATES[row.state];
  const people = [...(row.user ?? []), ...(row.unixgroup ?? []).map((g) => `group ${g}`)];
  return (
    <tr>
      <th scope="row">{row.id}</th>
      <td><span class={level}>{text}</span>{row.state === 'current' && !waits && ` on ${row.devices_in_force} ${row.devices_in_force === 1 ? 'device' : 'devices'}`}</td>
      <td class="text"><Names list={row.channel} none={row.kind === 'break-glass' ? 'all: only watches' : '–'} /></td>
      <td class="text"><Names list={people} none="everyone" /></td>
      <td class="text"><Names list={row.device} none="any" /></td>
      <td title={utc(row.until)}>{time(row.until)}</td>
      <td class="text">{row.reason}</td>
      <td>{row.approver}</td>
      <td>{isAdmin() && (row.state === 'current' || row.state === 'future') && (
        <button type="button" aria-label={`Revoke ${row.id}`} onClick={revoke}>Revoke…</button>)}</td>
    </tr>
  );
}

function Granted({ rows, hasKey, done }) {
  const [revoking, setRevoking] = useState(null);
  const [all, setAll] = useState(false);
  const held = rows.filter((r) => r.kind !== 'revocation').sort((a, b) => b.from - a.from);
  const current = held.filter((r) => r.state === 'current' || r.state === 'future');
  const shown = all ? held : current;
  return (
    <section aria-labelledby="granted">
      <h2 id="granted">Granted</h2>
      {shown.length === 0 && <p class="empty" role="status">No exemption is in force.</p>}
      {shown.length > 0 && (
        <div class="scroll" tabindex="0" role="region" aria-label="Exemptions, table">
          <table>
            <caption>Where one is in force, the devices say themselves. It ends by itself; times in {zone}.</caption>
            <thead><tr><th scope="col">Id</th><th scope="col">State</th><th scope="col">Channels</th><th scope="col">Who</th><th scope="col">Devices</th>
              <th scope="col">Until</th><th scope="col">Reason</th><th scope="col">Approved by</th><th scope="col">Change</th></tr></thead>
            <tbody>{shown.map((r) => [
              <Row key={r.id} row={r} revoke={() => setRevoking(revoking === r.id ? null : r.id)} />,
              revoking === r.id && <Revoke key={`${r.id} end`} row={r} hasKey={hasKey} cancel={() => setRevoking(null)}
                done={(id) => { setRevoking(null); done(id); }} />,
            ])}</tbody>
          </table>
        </div>
      )}
      {held.length > current.length && <p><button type="button" aria-pressed={all} onClick={() => setAll(!all)}>{all ? 'Only those in force' : `Show those that are over (${held.length - current.length})`}</button></p>}
    </section>
  );
}

export function Exemptions() {
  const [turn, setTurn] = useState(0);
  const [wish, setWish] = useState(EMPTY);
  const [said, setSaid] = useState('');
  const { data, error } = useQuery('/api/v1/exemptions', {}, { everyMs: 5000, turn });
  const { data: facets } = useQuery('/api/v1/facets', {});
  const reload = () => setTurn(turn + 1);
  const done = (what) => (id) => {
    setSaid(`${id}: ${what}.`);
    setWish(EMPTY);
    reload();
  };
  const answer = (r) => setWish({
    ...EMPTY, channel: r.channel, user: r.user ?? '', device: r.device_name || r.device, hours: String(r.hours || 8), reason: r.reason,
    request: { device: r.device, seq: r.seq },
  });
  const channels = [...new Set([...(facets?.channels ?? []), ...(data?.requests ?? []).map((r) => r.channel)])].filter(Boolean);
  return (
    <>
      <h1>Exemptions</h1>
      <Problem error={error} />
      <p role="status" class={said ? 'good' : 'quiet'}>{said}</p>
      {data && <Requests rows={data.requests} grant={answer} reload={reload} />}
      {data && isAdmin() && <Grant wish={wish} setWish={setWish} hasKey={data.key} channels={channels} done={done('on its way to the devices that it names')} />}
      {data && <Granted rows={data.rows} hasKey={data.key} done={done('what it revokes ends as soon as the devices hear of it')} />}
    </>
  );
}
