// SPDX-License-Identifier: GPL-3.0-or-later
// The last step of granting and revoking: by the key that the collector holds, or on another machine.
import { useState } from 'preact/hooks';
import { post } from './api.js';
import { Problem } from './query.jsx';

function Elsewhere({ make, busy, run, done }) {
  const [draft, setDraft] = useState(null);
  const [file, setFile] = useState(null);
  const [signature, setSignature] = useState(null);
  if (!draft)
    return <p><button type="button" disabled={busy} onClick={() => run(async () => setDraft(await post('/api/v1/exemptions/text', make())))}>Make the file to sign</button></p>;
  const name = `${draft.id}.ini`;
  return (
    <ol class="steps">
      <li><a class="button" download={name} href={URL.createObjectURL(new Blob([draft.text], { type: 'text/plain' }))}>Download {name}</a></li>
      <li>Sign it where the exemption key is: <code>onchannel exemption sign {name} --key SECRET</code></li>
      <li>
        <label>The file<input type="file" accept=".ini" onChange={(event) => setFile(event.currentTarget.files[0])} /></label>
        <label>Its signature<input type="file" accept=".minisig" onChange={(event) => setSignature(event.currentTarget.files[0])} /></label>
        <button type="button" class="primary" disabled={busy || !signature} onClick={() => run(async () => {
          await post('/api/v1/exemptions/signed', { file: file ? await file.text() : draft.text, minisig: await signature.text() });
          done(draft.id);
        })}>Hand in the signature</button>
      </li>
    </ol>
  );
}

// make() returns the body of the request, or throws an Error whose message is for people.
export function Signing({ hasKey, make, done, verb }) {
  const [elsewhere, setElsewhere] = useState(!hasKey);
  const [password, setPassword] = useState('');
  const [error, setError] = useState(null);
  const [busy, setBusy] = useState(false);
  const run = async (step) => {
    setBusy(true);
    setError(null);
    try {
      await step();
    } catch (failure) {
      setError(failure);
    }
    setPassword('');
    setBusy(false);
  };
  const sign = () => run(async () => done((await post('/api/v1/exemptions', { ...make(), password })).id));
  const enter = (event) => {
    if (event.key !== 'Enter') return;
    event.preventDefault();
    sign();
  };
  return (
    <fieldset class="signing">
      <legend>Signature</legend>
      {elsewhere ? <Elsewhere {...{ make, busy, run, done }} /> : (
        <>
          <label>Password of the exemption key
            <input type="password" autocomplete="off" value={password} onInput={(event) => setPassword(event.currentTarget.value)} onKeyDown={enter} />
          </label>
          <button type="button" class="primary" disabled={busy} onClick={sign}>{busy ? 'Signing…' : verb}</button>
        </>
      )}
      {hasKey && <button type="button" onClick={() => setElsewhere(!elsewhere)}>{elsewhere ? 'Sign here' : 'Sign on another machine'}</button>}
      <Problem error={error} />
    </fieldset>
  );
}
