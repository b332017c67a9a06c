// SPDX-License-Identifier: GPL-3.0-or-later
import { render } from 'preact';
import { useEffect } from 'preact/hooks';
import { get, post } from './api.js';
import { Device } from './device.jsx';
import { Devices } from './devices.jsx';
import { Exemptions } from './exemptions.jsx';
import { Integrity } from './integrity.jsx';
import { Link, parameters } from './location.jsx';
import { Login } from './login.jsx';
import { Rollout } from './rollout.jsx';
import { session } from './session.js';
import { Violation } from './violation.jsx';
import { Violations } from './violations.jsx';

const VIEWS = {
  violations: ['Violations', Violations], violation: ['Violation', Violation], devices: ['Devices', Devices], device: ['Device', Device],
  exemptions: ['Exemptions', Exemptions], rollout: ['Rollout', Rollout], integrity: ['Integrity', Integrity],
};
const PARENT = { violation: 'violations', device: 'devices' };
const MENU = ['violations', 'devices', 'exemptions', 'rollout', 'integrity'];

async function signOut() {
  await post('/api/v1/logout', {}).catch(() => {});
  session.value = null;
}

function App() {
  const name = parameters.value.get('view') ?? 'violations';
  const known = VIEWS[name] ? name : 'violations';
  const [title, View] = VIEWS[known];
  useEffect(() => {
    document.title = session.value ? `${title} – onchannel` : 'onchannel';
  });
  if (session.value === undefined) return null;
  if (session.value === null) return <Login />;
  return (
    <>
      <a class="skip" href="#content">Skip to the content</a>
      <header>
        <nav aria-label="Views">
          <strong>onchannel</strong>
          {MENU.map((view) => (
            <Link key={view} to={view === 'violations' ? {} : { view }} aria-current={view === known ? 'page' : view === PARENT[known] ? 'true' : undefined}>{VIEWS[view][0]}</Link>))}
        </nav>
        <p>{session.value.user} ({session.value.role}) <button type="button" onClick={signOut}>Sign out</button></p>
      </header>
      <main id="content" tabindex="-1"><View /></main>
    </>
  );
}

render(<App />, document.getElementById('app'));
get('/api/v1/session').then((who) => { session.value = who; }, () => { session.value = null; });
