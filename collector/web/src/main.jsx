// SPDX-License-Identifier: GPL-3.0-or-later
import { render } from 'preact';
import { useEffect } from 'preact/hooks';
import { get, post } from './api.js';
import { Devices } from './devices.jsx';
import { Integrity } from './integrity.jsx';
import { Link, parameters } from './location.jsx';
import { Login } from './login.jsx';
import { session } from './session.js';
import { Violation } from './violation.jsx';
import { Violations } from './violations.jsx';

const VIEWS = { violations: Violations, violation: Violation, devices: Devices, integrity: Integrity };
const TITLES = { violations: 'Violations', violation: 'Violation', devices: 'Devices', integrity: 'Integrity' };

async function signOut() {
  await post('/api/v1/logout', {}).catch(() => {});
  session.value = null;
}

function App() {
  const name = parameters.value.get('view') ?? 'violations';
  const View = VIEWS[name] ?? Violations;
  useEffect(() => {
    document.title = session.value ? `${TITLES[name] ?? TITLES.violations} – onchannel` : 'onchannel';
  });
  if (session.value === undefined) return null;
  if (session.value === null) return <Login />;
  return (
    <>
      <a class="skip" href="#content">Skip to the content</a>
      <header>
        <nav aria-label="Views">
          <strong>onchannel</strong>
          <Link to={{}} aria-current={View === Violations ? 'page' : undefined}>Violations</Link>
          <Link to={{ view: 'devices' }} aria-current={View === Devices ? 'page' : undefined}>Devices</Link>
          <Link to={{ view: 'integrity' }} aria-current={View === Integrity ? 'page' : undefined}>Integrity</Link>
        </nav>
        <p>{session.value.user} ({session.value.role}) <button type="button" onClick={signOut}>Sign out</button></p>
      </header>
      <main id="content" tabindex="-1"><View /></main>
    </>
  );
}

render(<App />, document.getElementById('app'));
get('/api/v1/session').then((who) => { session.value = who; }, () => { session.value = null; });
