// SPDX-License-Identifier: GPL-3.0-or-later
import { useState } from 'preact/hooks';
import { post } from './api.js';
import { Problem } from './query.jsx';
import { session } from './session.js';

export function Login() {
  const [error, setError] = useState(null);
  const [busy, setBusy] = useState(false);
  const submit = async (event) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    setBusy(true);
    setError(null);
    try {
      session.value = await post('/api/v1/login', { user: form.get('user'), password: form.get('password') });
    } catch (failure) {
      setError(failure.status === 401 ? new Error('The name or the password is wrong.') : failure);
    }
    setBusy(false);
  };
  return (
    <main class="login">
      <h1>onchannel</h1>
      <p>Records of unapproved communication channels. Signing in and each record that you open are recorded.</p>
      <form onSubmit={submit}>
        <label>Name<input name="user" autocomplete="username" required autofocus /></label>
        <label>Password<input name="password" type="password" autocomplete="current-password" required /></label>
        <Problem error={error} />
        <button class="primary" disabled={busy}>Sign in</button>
      </form>
    </main>
  );
}
