// SPDX-License-Identifier: GPL-3.0-or-later
// One device: what it applied and refused, and of each day whether its silence proves anything.
import { ago, time, utc } from './format.js';
import { Link, parameters } from './location.jsx';
import { Problem, useQuery } from './query.jsx';

const DAYS = 35;
const DAY_MS = 86400e3;
const WEEKDAYS = ['Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat', 'Sun'];
// state → sign, word, what it means
const STATES = {
  covered: ['✓', 'covered', 'blocking was proved all the time the machine ran'],
  monitor: ['◐', 'monitor', 'recorded, but not blocked'],
  off: ['–', 'off', 'shut down in order, or asleep'],
  explained: ['!', 'gap, explained', 'nobody watched for a while; a record says how long and why'],
  doubt: ['‼', 'in doubt', 'events were lost, or the self-test failed'],
  silent: ['?', 'not heard of', 'the last record is overdue; it may still come'],
  gap: ['✗', 'gap', 'nothing says what happened'],
  none: ['', 'no record', 'no record is kept of that time'],
};
const PROVE_NOTHING = ['monitor', 'doubt', 'silent', 'gap', 'none'];

const minutes = (n) => (n >= 60 ? `${Math.floor(n / 60)} h${n % 60 ? ` ${n % 60} min` : ''}` : `${n} min`);
const inWords = (day) => Object.entries(day.minutes).map(([state, n]) => `${STATES[state][1]} ${minutes(n)}`).join(', ') || 'no record';

function weeksOf(days) {
  const weeks = [];
  for (const day of days) {
    const column = (new Date(`${day.day}T00:00:00Z`).getUTCDay() + 6) % 7;
    if (weeks.length === 0 || column === 0) weeks.push(Array(7).fill(null));
    weeks.at(-1)[column] = day;
  }
  return weeks;
}

function Day({ day }) {
  if (!day) return <td class="day" />;
  const [sign, word] = STATES[day.state];
  return (
    <td class={`day day-${day.state}`} title={`${day.day}: ${inWords(day)}`}>
      <time datetime={day.day}>{Number(day.day.slice(8))}</time> <span aria-hidden="true">{sign}</span><span class="hidden">{word}</span>
    </td>
  );
}

function Zero({ days, enrolled }) {
  const since = days.filter((d) => d.state !== 'none' || Date.parse(`${d.day}T24:00:00Z`) > enrolled);
  const counts = Object.fromEntries(Object.keys(STATES).map((s) => [s, since.filter((d) => d.state === s).length]));
  const open = PROVE_NOTHING.reduce((n, state) => n + counts[state], 0);
  const total = since.length;
  if (total === 0) return <p>The device was enrolled later.</p>;
  return open === 0
    ? <p class="good">On all {total} days blocking was proved while the machine ran{counts.explained > 0 && `, but for gaps on ${counts.explained} of them that are explained`}. No violation in this time means that there was none to record.</p>
    : <p class="warning">On {open} of {total} days that no violation was recorded proves nothing: {PROVE_NOTHING.filter((s) => counts[s] > 0).map((s) => `${STATES[s][1]} ${counts[s]}`).join(', ')}.</p>;
}

function Holes({ holes, left }) {
  if (holes.length === 0) return null;
  return (
    <div class="scroll" tabindex="0" role="region" aria-label="Gaps, table">
      <table>
        <caption>Where nothing was proved, newest first.{left > 0 && ` ${left} more are not shown.`}</caption>
        <thead><tr><th scope="col">From</th><th scope="col">To</th><th scope="col">What</th><th scope="col">Why</th></tr></thead>
        <tbody>{[...holes].reverse().map((h) => (
          <tr key={`${h.from}.${h.to}.${h.state}`}>
            <td title={utc(h.from)}>{time(h.from)}</td><td title={utc(h.to)}>{time(h.to)}</td>
            <td><span class={h.state === 'explained' ? 'warning' : 'problem'}>{STATES[h.state][1]}</span></td>
            <td class="text">{h.why}</td>
          </tr>))}</tbody>
      </table>
    </div>
  );
}

function Calendar({ device }) {
  const to = parameters.value.get('to') ?? '';
  const { data, error } = useQuery(`/api/v1/coverage/${encodeURIComponent(device)}`, { days: DAYS, to }, { everyMs: to ? 0 : 30000 });
  if (!data) return <Problem error={error} />;
  const last = Date.parse(`${data.days.at(-1).day}T00:00:00Z`);
  const move = (days) => ({ view: 'device', device, to: last + days * DAY_MS < Date.now() - DAY_MS ? last + days * DAY_MS : '' });
  return (
    <section aria-labelledby="calendar">
      <h2 id="calendar">Coverage</h2>
      <Problem error={error} />
      <Zero days={data.days} enrolled={data.enrolled} />
      <table class="calendar">
        <caption>{data.days[0].day} to {data.days.at(-1).day}. A day (UTC) is what its worst minute was.</caption>
        <thead><tr>{WEEKDAYS.map((w) => <th key={w} scope="col">{w}</th>)}</tr></thead>
        <tbody>{weeksOf(data.days).map((week) => <tr key={(week.find(Boolean)).day}>{week.map((day, i) => <Day key={i} day={day} />)}</tr>)}</tbody>
      </table>
      <nav class="pages" aria-label="Other days">
        <Link class="button" to={move(-DAYS)}>Earlier</Link>
        {to && <Link class="button" to={move(DAYS)}>Later</Link>}
      </nav>
      <ul class="legend">{Object.entries(STATES).filter(([s]) => data.counts[s] > 0).map(([s, [sign, word, meaning]]) => (
        <li key={s}><span class={`day-${s}`} aria-hidden="true">{sign || ' '}</span> {word} ({data.counts[s]}): {meaning}</li>))}</ul>
      <Holes holes={data.holes} left={data.holes_left_out} />
    </section>
  );
}

const Field = ({ name, children }) => (children || children === 0 ? <><dt>{name}</dt><dd>{children}</dd></> : null);

function Exempt({ row }) {
  if (row.exemptions.length === 0 && row.exemptions_refused.length === 0) return null;
  return (
    <section aria-labelledby="exempt">
      <h2 id="exempt">Exemptions on this device</h2>
      <ul>
        {row.exemptions.map((e) => <li key={e.id}><strong>{e.id}</strong>: {e.state}, until {time(Date.parse(e.until))}; {e.reason}</li>)}
        {row.exemptions_refused.map((e) => <li key={e.file + e.reason}><span class="problem">refused: {e.reason}</span></li>)}
      </ul>
    </section>
  );
}

export function Device() {
  const device = parameters.value.get('device') ?? '';
  const { data, error } = useQuery('/api/v1/devices', {}, { everyMs: 30000 });
  const row = data?.rows.find((r) => r.device === device);
  return (
    <article>
      <p><Link to={{ view: 'devices' }}>All devices</Link></p>
      <h1>{row?.name ?? 'Device'}</h1>
      <Problem error={error ?? (data && !row ? new Error('There is no such device, or it was retired.') : null)} />
      {row && (
        <dl>
          <Field name="State">{row.problem ? <span class="problem">{row.problem}</span> : <span class="good">nothing is wrong</span>}</Field>
          <Field name="Policy applied">{row.policy_serial ? `serial ${row.policy_serial}, mode ${row.mode}` : 'none'}</Field>
          <Field name="Refused">{row.refused && !row.problem?.includes(row.refused) && <span class="problem">{row.refused}</span>}</Field>
          <Field name="Tags">{row.tags.join(', ')}</Field>
          <Field name="Last seen"><time datetime={utc(row.last_seen)}>{time(row.last_seen)}</time> ({ago(row.last_seen)})</Field>
          <Field name="Enrolled">{time(row.enrolled)}</Field>
          <Field name="Sensors">{row.sensors && <code>{row.sensors}</code>}</Field>
          <Field name="Agent">{row.agent_version}</Field>
          <Field name="Records"><Link to={{ device: row.device }}>violations of this device</Link>, {row.next_seq - 1} records in its chain</Field>
          <Field name="Id"><code>{row.device}</code></Field>
        </dl>
      )}
      {row && <Exempt row={row} />}
      {row && <Calendar device={device} />}
    </article>
  );
}
