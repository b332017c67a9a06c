// SPDX-License-Identifier: GPL-3.0-or-later
// One violation in words, its place in the device's chain, and the record itself.
import { parameters, Link } from './location.jsx';
import { time, utc, word } from './format.js';
import { Problem, useQuery } from './query.jsx';

const Field = ({ name, children }) => children ? <><dt>{name}</dt><dd>{children}</dd></> : null;

function Proof({ chain, log, device, seq }) {
  return (
    <section aria-labelledby="proof">
      <h2 id="proof">Proof</h2>
      <p class={chain.verified ? 'good' : 'problem'}>
        {chain.verified
          ? `Record ${seq} of this device stands in its hash chain, and the device's signature over it was checked when it arrived.`
          : 'This record does not fit the chain that the collector keeps for the device.'}
      </p>
      <p class={log?.included ? 'good' : log ? 'problem' : 'warning'}>
        {log?.included
          ? `Its batch is entry ${log.leaf} of ${log.size} in the log, proved to the checkpoint of ${time(log.time)}.`
          : log ? 'Its batch is not where the log says it is.' : 'Its batch waits for the next checkpoint of the log.'}
      </p>
      {chain.erased && <p class="warning">The record was erased: its place is proved, what it said is gone.</p>}
      <dl>
        <Field name="Log">{log && <code>{log.origin}</code>}</Field>
        <Field name="Hash"><code>{chain.hash}</code></Field>
        <Field name="Hash before"><code>{chain.prev}</code></Field>
        <Field name="Salt"><code>{chain.salt}</code></Field>
        {chain.seal && <Field name="Signed with"><>records {chain.seal.first} to {chain.seal.first + chain.seal.n - 1}: <code>{chain.seal.sig}</code></></Field>}
        <Field name="Device"><code>{device}</code></Field>
      </dl>
    </section>
  );
}

export function Violation() {
  const device = parameters.value.get('device') ?? '';
  const seq = parameters.value.get('seq') ?? '';
  const { data, error } = useQuery(`/api/v1/violations/${encodeURIComponent(device)}/${encodeURIComponent(seq)}`, {});
  if (!data) return <><h1>Violation</h1><Problem error={error} /></>;
  const { row, chain, log } = data;
  const record = data.record ?? {};
  const own = record.unmapped?.onchannel ?? {};
  return (
    <article>
      <p><Link to={{}}>All violations</Link></p>
      <h1>{row.user || (row.uid ?? 'somebody')} on {row.device_name || row.device}: {row.channel_name || row.channel || row.class}</h1>
      <Problem error={error} />
      <dl>
        <Field name="Time"><time datetime={utc(row.time)}>{time(row.time)}</time></Field>
        <Field name="Attempts">{String(row.count)}</Field>
        <Field name="Class">{row.class}</Field>
        <Field name="What was found">{own.detail}</Field>
        <Field name="Seen at">{word('layer', row.layer)}</Field>
        <Field name="Evidence">{word('tier', row.tier)}</Field>
        <Field name="Catalogue entry">{row.entry && <><code>{row.entry}</code> {own.entry_source && `(${own.entry_source})`}</>}</Field>
        <Field name="What happened">{word('outcome', row.outcome)}</Field>
        <Field name="Verdict of the policy">{row.verdict}</Field>
        <Field name="Program">{row.program && <code>{row.program}</code>}</Field>
        <Field name="Remote">{row.remote && `${row.remote}${row.port ? ` port ${row.port}` : ''}`}</Field>
        <Field name="Policy">{row.policy_serial ? `serial ${row.policy_serial}` : 'none'}</Field>
        <Field name="Policy file, SHA-256">{own.policy_hash && <code>{own.policy_hash}</code>}</Field>
        <Field name="Signed by key">{own.policy_signer && <code>{own.policy_signer}</code>}</Field>
        <Field name="Catalogue">{own.catalogue}</Field>
        <Field name="Employee was told">{own.notified === undefined ? '' : own.notified ? 'yes' : 'no'}</Field>
        <Field name="Received">{time(row.received)}</Field>
      </dl>
      <Proof chain={chain} log={log} device={row.device} seq={row.seq} />
      <details>
        <summary>The record as the device wrote it (OCSF {record.metadata?.version})</summary>
        <pre tabindex="0">{JSON.stringify(record, null, 2)}</pre>
      </details>
    </article>
  );
}
