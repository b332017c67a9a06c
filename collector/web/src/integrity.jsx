// SPDX-License-Identifier: GPL-3.0-or-later
// What the evidence stands on: the log, who watches it, what does not fit; and a way to take it out.
import { useState } from 'preact/hooks';
import { Link } from './location.jsx';
import { ago, fromLocal, time, utc, zone } from './format.js';
import { Problem, useQuery } from './query.jsx';

const KINDS = {
  'chain-gap': 'Records are missing', 'chain-fork': 'Two histories of one device',
  'log-fork': 'Another history of the log was shown', silent: 'Gone silent',
};

function Log({ log, pending }) {
  if (!log) return <p class="warning" role="status">The log has no entry yet: nothing has been received.</p>;
  return (
    <section aria-labelledby="log">
      <h2 id="log">The log</h2>
      <p>
        Each sealed batch of records and each action of an administrator or reader has an entry that cannot be changed or
        taken back unseen. {pending > 0 ? `${pending} batches wait for the next checkpoint.` : 'Everything received is in it.'}
      </p>
      <dl>
        <dt>Name</dt><dd><code>{log.origin}</code></dd>
        <dt>Entries</dt><dd>{log.size}</dd>
        <dt>Last checkpoint</dt><dd><time datetime={utc(log.time)}>{time(log.time)}</time> ({ago(log.time)})</dd>
        <dt>Root</dt><dd><code>{log.root}</code></dd>
        <dt>Verifier key</dt><dd><code>{log.vkey}</code></dd>
      </dl>
    </section>
  );
}

function Witnesses({ log }) {
  if (!log) return null;
  return (
    <section aria-labelledby="witnesses">
      <h2 id="witnesses">Witnesses</h2>
      {log.witnesses.length === 0
        ? <p class="warning">Nobody outside watches this log. Run <code>onchannel-witness</code> on another administrator's host.</p>
        : (
          <table>
            <caption>Whoever cosigned has seen that the log only grew.</caption>
            <thead><tr><th scope="col">Witness</th><th scope="col" class="number">Entries seen</th><th scope="col">When</th></tr></thead>
            <tbody>{log.witnesses.map((w) => (
              <tr key={w.name}>
                <th scope="row">{w.name}</th>
                <td class="number">{w.size ?? '–'}</td>
                <td>{w.time ? <span class={Date.now() - w.time > 3600e3 ? 'warning' : 'good'} title={utc(w.time)}>{ago(w.time)}</span>
                  : <span class="warning">has not cosigned yet</span>}</td>
              </tr>))}</tbody>
          </table>)}
    </section>
  );
}

function Findings({ findings }) {
  return (
    <section aria-labelledby="findings">
      <h2 id="findings">What does not fit</h2>
      {findings.length === 0
        ? <p class="good" role="status">No gap, no fork, no silent device.</p>
        : (
          <div class="scroll" tabindex="0" role="region" aria-label="Findings, table">
            <table>
              <caption>The collector's own conclusions, newest first.</caption>
              <thead><tr><th scope="col">Time</th><th scope="col">Finding</th><th scope="col">Device</th><th scope="col">What was seen</th><th scope="col">Ended</th></tr></thead>
              <tbody>{findings.map((f) => (
                <tr key={`${f.kind}.${f.device}.${f.place}`}>
                  <td title={utc(f.time)}>{time(f.time)}</td>
                  <th scope="row"><span class={f.ended ? 'warning' : 'problem'}>{KINDS[f.kind] ?? f.kind}</span></th>
                  <td><Link to={{ device: f.device }} title={f.device}>{f.record.device?.hostname ?? f.device}</Link></td>
                  <td>{f.record.message}</td>
                  <td>{f.ended ? time(f.ended) : '–'}</td>
                </tr>))}</tbody>
            </table>
          </div>)}
    </section>
  );
}

// A plain link: the browser writes to disk what the collector streams.
function Export() {
  const [from, setFrom] = useState('');
  const [to, setTo] = useState('');
  const [device, setDevice] = useState('');
  const query = new URLSearchParams(Object.entries({ from: fromLocal(from), to: fromLocal(to), device }).filter(([, v]) => v));
  return (
    <section aria-labelledby="export">
      <h2 id="export">Export</h2>
      <p>One file that anybody can check offline with <code>onchannel-verify</code>. That you took it stands in the log.</p>
      <form class="filters" onSubmit={(event) => event.preventDefault()}>
        <label>From ({zone})<input type="datetime-local" value={from} onInput={(event) => setFrom(event.target.value)} /></label>
        <label>To<input type="datetime-local" value={to} onInput={(event) => setTo(event.target.value)} /></label>
        <label>Device<input type="text" value={device} onInput={(event) => setDevice(event.target.value)} /></label>
        <a class="button" href={`/api/v1/export?${query}`} download="evidence.ndjson">Export evidence</a>
      </form>
    </section>
  );
}

export function Integrity() {
  const { data, error } = useQuery('/api/v1/integrity', {}, { everyMs: 10000 });
  return (
    <>
      <h1>Integrity</h1>
      <Problem error={error} />
      {data && <><Log log={data.log} pending={data.pending} /><Witnesses log={data.log} /><Findings findings={data.findings} /></>}
      <Export />
    </>
  );
}
