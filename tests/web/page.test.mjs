// SPDX-License-Identifier: GPL-3.0-or-later
// The auditors' page in a real browser against a real collector with records sent over the real protocol.
// Environment: ONCHANNEL_BUILD; ONCHANNEL_SCREENSHOTS, a folder, keeps pictures of what a person sees.
import assert from 'node:assert/strict';
import { spawn, execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

const program = join(process.env.ONCHANNEL_BUILD, 'collector/onchannel-collector');
const support = fileURLToPath(new URL('../support', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'onchannel-web-'));
const store = join(folder, 'collector');
const address = 'https://localhost:18444/';
const PASSWORD = 'correct horse battery staple';
const KEY_PASSWORD = 'three blind mice see';
const COUNT = 250; // two and a half pages
let server, browser, context, page, device;
const consoleErrors = [];

// A request from outside the browser: the collector speaks HTTP/2 only, which Playwright's own client does not.
const request = (path, ...args) => Number(execFileSync('curl', ['--silent', '--insecure', '--http2', '--output', '/dev/null',
  '--write-out', '%{http_code}', ...args, address + path], { encoding: 'utf8' }));
const cookie = async () => (await context.cookies()).map(({ name, value }) => ['--cookie', `${name}=${value}`]).flat();

const run = (...args) => execFileSync(program, args, { encoding: 'utf8' });

before(async () => {
  writeFileSync(join(folder, 'password'), PASSWORD + '\n', { mode: 0o600 });
  execFileSync(join(process.env.ONCHANNEL_BUILD, 'cli/onchannel'), ['key', 'new', join(folder, 'exemption'), '--password', '--server'],
    { input: KEY_PASSWORD + '\n' });
  run('init', store, '--exemption-key', join(folder, 'exemption.key'), '--name', 'localhost', '--agents', '127.0.0.1:18443', '--page', '127.0.0.1:18444',
    '--admin', 'admin', '--password-file', join(folder, 'password'));
  server = spawn(program, ['serve', store], { stdio: ['ignore', 'ignore', 'pipe'] });
  await new Promise((resolve, reject) => {
    let text = '';
    server.stderr.on('data', (data) => { text += data; if ((text.match(/listening/g) ?? []).length >= 2) resolve(); });
    server.on('exit', (code) => reject(new Error(`the collector ended with ${code}: ${text}`)));
  });
  const token = run('token', store).trim();
  device = execFileSync('/usr/bin/python3', [join(support, 'seed.py'), join(folder, 'device'), 'https://localhost:18443',
    join(store, 'server-ca.pem'), token, 'ws-0301', String(COUNT)], { encoding: 'utf8' }).trim();
  browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox', '--disable-gpu',
    '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'] });
  context = await browser.newContext({ ignoreHTTPSErrors: true, timezoneId: 'UTC', viewport: { width: 1500, height: 900 } });
  page = await context.newPage();
  page.setDefaultTimeout(10_000);
  page.on('console', (message) => { if (message.type() === 'error') consoleErrors.push(message.text()); });
  page.on('pageerror', (error) => consoleErrors.push(String(error)));
});

after(async () => {
  await browser?.close();
  server?.removeAllListeners('exit');
  server?.kill();
  rmSync(folder, { recursive: true, force: true });
});

const picture = async (name) => {
  if (process.env.ONCHANNEL_SCREENSHOTS) await page.screenshot({ path: join(process.env.ONCHANNEL_SCREENSHOTS, `${name}.png`) });
};
// Markup is shown at least so often as the text that it is, and nothing came of it.
const harmless = async (times) => {
  const text = await page.locator('body').innerText();
  assert.ok(text.split('<img src=x onerror=').length > times, text);
  assert.equal(await page.locator('main img, tbody img').count(), 0);
  assert.doesNotMatch(await page.title(), /owned/);
};
const rows = () => page.locator('tbody tr');
const cell = (row, column) => rows().nth(row).locator('th,td').nth(column);

test('nothing is shown before signing in', async () => {
  await page.goto(address);
  await page.getByRole('button', { name: 'Sign in' }).waitFor();
  assert.equal(await page.locator('table').count(), 0);
  assert.equal(request('api/v1/violations'), 401);
  await picture('login');
});

test('a wrong password is refused with a sentence', async () => {
  await page.getByLabel('Name').fill('admin');
  await page.getByLabel('Password').fill('wrong');
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByRole('alert').filter({ hasText: 'wrong' }).waitFor();
});

test('after signing in the newest violations are listed', async () => {
  await page.getByLabel('Password').fill(PASSWORD);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByText(`${COUNT} records`).waitFor();
  assert.equal(await rows().count(), 100);
  assert.equal(await cell(0, 1).innerText(), 'WhatsApp');
  assert.equal(await cell(0, 3).innerText(), 'anna');
  assert.equal(await cell(0, 4).innerText(), 'ws-0301');
  assert.equal(await cell(0, 5).innerText(), 'curl');
  assert.equal(await cell(0, 10).innerText(), '42');
  await picture('violations');
});

test('pages are keyset pages and every record stands on exactly one', async () => {
  const seen = new Set();
  for (let n = 0; n < 3; n++) {
    for (const link of await rows().locator('td:first-child a').all()) seen.add(await link.getAttribute('href'));
    const older = page.getByRole('link', { name: 'Older' });
    if (n < 2) {
      const first = await cell(0, 0).innerText();
      await older.click();
      await page.waitForFunction((text) => document.querySelector('tbody td')?.innerText !== text, first);
    } else assert.equal(await older.count(), 0);
  }
  assert.equal(seen.size, COUNT);
});

test('filters live in the address and survive a reload', async () => {
  await page.goto(address);
  await page.getByLabel('Class', { exact: true }).selectOption('bypass');
  await page.getByText('25 records').waitFor();
  assert.match(page.url(), /class=bypass/);
  await page.reload();
  await page.getByText('25 records').waitFor();
  for (const text of await rows().locator('td:nth-child(2)').allInnerTexts()) assert.equal(text, 'Tor');
  await page.getByLabel('Channel', { exact: true }).selectOption('whatsapp');
  await page.getByText('No violation matches').waitFor();
  await page.getByRole('button', { name: 'Clear all' }).click();
  await page.getByText(`${COUNT} records`).waitFor();
});

test('people and devices are found by how they begin', async () => {
  await page.goto(address);
  const user = page.getByLabel('User', { exact: true });
  await page.locator('#known-user option[value="anna"]').waitFor({ state: 'attached' });
  await user.pressSequentially('b');
  await page.locator('#known-user option[value="anna"]').waitFor({ state: 'detached' });
  assert.equal(await user.inputValue(), 'b');
  await user.fill('anna');
  await page.locator('#known-user option[value="anna"]').waitFor({ state: 'attached' });
  await user.press('Enter');
  await page.waitForFunction(() => location.search.includes('user=anna'));
  await page.getByText(`${COUNT - 2} records`).waitFor(); // one has no user, one has markup for one
  await page.getByRole('button', { name: 'Clear all' }).click();
  await page.getByText(`${COUNT} records`).waitFor();
  assert.equal(await user.inputValue(), '');
});

test('markup in a record stays text', async () => {
  await page.goto(address + '?user=' + encodeURIComponent('<img src=x onerror=document.title="owned">'));
  await page.getByText('1 record', { exact: true }).waitFor();
  assert.equal(await cell(0, 3).innerText(), '<img src=x onerror=document.title="owned">');
  await harmless(5);
  await cell(0, 0).getByRole('link').click();
  await page.getByText(/stands in its hash chain/).waitFor();
  await harmless(10);
  await page.getByRole('link', { name: 'Devices' }).click();
  await page.getByRole('rowheader', { name: 'ws-0301' }).waitFor();
  await harmless(2);
});

test('a violation says what happened and where it stands in the chain', async () => {
  await page.goto(address);
  await cell(0, 0).getByRole('link').click();
  await page.getByRole('heading', { name: /anna on ws-0301: WhatsApp/ }).waitFor();
  await page.getByText('suffix whatsapp.com').first().waitFor();
  await page.getByText(/stands in its hash chain/).waitFor();
  await page.getByText(device).first().waitFor();
  await picture('violation');
});

test('tampering, which has no channel and perhaps no user, is told in words', async () => {
  await page.goto(address + '?class=tamper');
  await page.getByText('1 record', { exact: true }).waitFor();
  assert.equal(await cell(0, 1).innerText(), '–');
  assert.equal(await cell(0, 3).innerText(), '–');
  await cell(0, 0).getByRole('link').click();
  await page.getByRole('heading', { name: 'somebody on ws-0301: tamper' }).waitFor();
  await page.getByText('somebody changed the nftables table; it was restored', { exact: true }).waitFor();
});

test('the keyboard alone is enough', async () => {
  await page.goto(address);
  await page.getByText(`${COUNT} records`).waitFor();
  await page.keyboard.press('Tab');
  assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Skip to the content');
  await page.keyboard.press('Enter');
  for (let n = 0; n < 40 && !(await page.evaluate(() => document.activeElement.closest('tbody a'))); n++) await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: /anna on ws-0301/ }).waitFor();
  await page.goBack();
  await page.getByText(`${COUNT} records`).waitFor();
});

test('a link to what does not exist says so', async () => {
  await page.goto(`${address}?view=violation&device=${device}&seq=99999`);
  await page.getByRole('alert').waitFor();
  await page.goto(`${address}?class=nonsense`);
  await page.getByRole('alert').waitFor();
  await page.goto(`${address}?view=nonsense`);
  await page.getByRole('heading', { name: 'Violations' }).waitFor();
});

test('devices show what covers them', async () => {
  await page.getByRole('link', { name: 'Devices' }).click();
  await page.getByRole('rowheader', { name: 'ws-0301' }).waitFor();
  await picture('devices');
});

test('with nothing to show the views say so', async () => {
  await page.getByRole('link', { name: 'Exemptions' }).click();
  await page.getByText('Nobody waits for an answer').waitFor();
  await page.getByText('No exemption is in force').waitFor();
  await picture('exemptions-empty');
  await page.getByRole('link', { name: 'Rollout' }).click();
  await page.getByText('No rollout is under way').waitFor();
  await picture('rollout-empty');
});

test('a device has a calendar that claims no more than its records prove', async () => {
  const id = execFileSync('/usr/bin/python3', [join(support, 'seed.py'), '--days', join(folder, 'days'), 'https://localhost:18443',
    join(store, 'server-ca.pem'), run('token', store).trim(), 'ws-0777'], { encoding: 'utf8' }).trim();
  await page.getByRole('link', { name: 'Devices' }).click();
  await page.getByRole('row', { name: /ws-0777.*carrier-pigeon.*trading-floor, london/ }).waitFor();
  await page.getByRole('link', { name: 'ws-0777' }).click();
  await page.getByRole('heading', { name: 'Coverage' }).waitFor();
  await page.getByText("policy refused: there is no channel 'carrier-pigeon'", { exact: true }).waitFor();
  const states = {};
  for (const cell of await page.locator('.calendar td[title]').all()) {
    const [day, words] = (await cell.getAttribute('title')).split(': ');
    states[(Date.parse(day) - Date.parse(new Date().toISOString().slice(0, 10))) / 86400e3] = [await cell.locator('.hidden').textContent(), words];
  }
  assert.equal(Object.keys(states).length, 35);
  const expected = { '-15': 'monitor', '-12': 'gap', '-10': 'gap, explained', '-8': 'off', '-5': 'in doubt' };
  for (let day = -34; day <= 0; day++) assert.equal(states[day][0], expected[day] ?? (day < -20 ? 'no record' : 'covered'), `day ${day}: ${states[day]}`);
  assert.match(states[-12][1], /gap 4 h/);
  assert.equal(states[-8][1], 'off 24 h');
  await page.getByText(/On 3 of 21 days that no violation was recorded proves nothing: monitor 1, in doubt 1, gap 1\./).waitFor();
  await page.getByText('the agent did not run for at most 10800 s').waitFor();
  await page.getByText('no record, and none that says why').waitFor();
  await picture('device');
  await page.getByRole('link', { name: 'Earlier' }).click();
  await page.getByText('The device was enrolled later.').waitFor();
  await page.getByRole('link', { name: 'Later' }).click();
  await page.getByText('On 3 of 21 days').waitFor();
  assert.match(page.url(), new RegExp(`device=${id}`));
});

test('an exemption is granted to who asked, with the key that the collector holds', async () => {
  await page.getByRole('link', { name: 'Exemptions' }).click();
  const asked = page.getByRole('row', { name: /anna WhatsApp a client in Brazil/ });
  await asked.waitFor();
  assert.equal(await page.locator('tbody img').count(), 0);
  await asked.getByRole('button', { name: 'Grant what anna asks for' }).click();
  assert.equal(await page.getByLabel('Users (login names)').inputValue(), 'anna');
  assert.equal(await page.getByLabel('Only on devices').inputValue(), 'ws-0777');
  await page.getByLabel('Password of the exemption key').fill('wrong');
  await page.getByRole('button', { name: 'Grant', exact: true }).click();
  await page.getByRole('alert').filter({ hasText: 'the password of the exemption key is wrong' }).waitFor();
  assert.equal(await page.getByLabel('Password of the exemption key').inputValue(), '');
  await page.getByLabel('Reason (auditors').fill('CHG-4711');
  await page.getByLabel('Password of the exemption key').fill(KEY_PASSWORD);
  await picture('exemption-form');
  await page.keyboard.press('Enter');
  await page.getByText(/EX-\d{8}-[0-9a-f]{8}: on its way/).waitFor();
  await page.getByRole('row', { name: /handed out, no device has it yet whatsapp anna ws-0777 .* CHG-4711 admin/ }).waitFor();
  assert.equal(await page.getByRole('button', { name: 'Grant what anna asks for' }).count(), 0);
  assert.match(run('exemption', store, 'list'), /exemption EX-.*: CHG-4711/);
  await page.getByRole('button', { name: /Decline what/ }).click();
  await page.getByLabel('Why not?').fill('use Teams');
  await page.keyboard.press('Enter');
  await page.getByText('Nobody waits for an answer').waitFor();
  await page.getByRole('button', { name: 'Show the answered ones (2)' }).click();
  await page.getByText('declined by admin: use Teams').waitFor();
  await picture('exemptions');
});

test('an exemption is revoked, by a file that is signed on another machine', async () => {
  await page.getByRole('button', { name: /Revoke EX-/ }).click();
  await page.getByLabel(/Why is EX-.* revoked/).fill('client left');
  const form = page.getByRole('form', { name: /Revoke EX-/ });
  await form.getByRole('button', { name: 'Sign on another machine' }).click();
  await form.getByRole('button', { name: 'Make the file to sign' }).click();
  const [download] = await Promise.all([page.waitForEvent('download'), form.getByRole('link', { name: /Download RV-/ }).click()]);
  const file = join(folder, download.suggestedFilename());
  await download.saveAs(file);
  execFileSync(join(process.env.ONCHANNEL_BUILD, 'cli/onchannel'), ['exemption', 'sign', file, '--key', join(folder, 'exemption.key')],
    { input: KEY_PASSWORD + '\n' });
  await form.getByLabel('Its signature').setInputFiles(`${file}.minisig`);
  await picture('revocation-elsewhere');
  await form.getByRole('button', { name: 'Hand in the signature' }).click();
  await page.getByText('No exemption is in force').waitFor();
  await page.getByRole('button', { name: 'Show those that are over (1)' }).click();
  await page.getByRole('row', { name: /revoked whatsapp anna/ }).waitFor();
});

test('a rollout shows each ring', async () => {
  const key = join(folder, 'policy');
  const cli = (...args) => execFileSync(join(process.env.ONCHANNEL_BUILD, 'cli/onchannel'), args, { encoding: 'utf8' });
  cli('key', 'new', key);
  const sign = (serial) => {
    const file = join(folder, `${serial}.ini`);
    writeFileSync(file, `[policy]\nformat = 1\norganisation = Example Bank plc\nserial = ${serial}\nnot_before = 2020-01-01T00:00:00Z\n` +
      'expires = 2099-01-01T00:00:00Z\nmode = monitor\nunlisted = block\nbypass = block\nquic = inspect\nprograms = block\nnotice = no\nhelp = https://example/\n');
    cli('policy', 'sign', file, '--key', `${key}.key`);
    return file;
  };
  run('rollout', store, 'start', sign(43), '--back', sign(44), '--device', 'ws-0777');
  await page.getByRole('link', { name: 'Rollout' }).click();
  await page.getByRole('row', { name: /First ring 43 1 0 ✗ 1 0 0 0 0/ }).waitFor();
  await page.getByText('those named ws-0777').waitFor();
  await page.getByText("there is no channel 'carrier-pigeon'").waitFor();
  await picture('rollout');
  run('rollout', store, 'back');
  await page.getByText('No rollout is under way').waitFor({ timeout: 20_000 });
});

const NARROW = ['', '?view=devices', '?view=exemptions', '?view=rollout', '?view=integrity'];
test('every view fits a telephone and both schemes, and each control has a name', async () => {
  const views = [...NARROW, `?view=device&device=${device}`];
  for (const scheme of ['light', 'dark'])
    for (const width of [1280, 390]) {
      await page.emulateMedia({ colorScheme: scheme });
      await page.setViewportSize({ width, height: 900 });
      for (const view of views) {
        await page.goto(address + view);
        await page.getByRole('heading', { level: 1 }).waitFor();
        await page.waitForLoadState('networkidle');
        const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
        assert.ok(overflow <= 0, `${view || 'violations'} scrolls sideways by ${overflow} px at ${width}`);
        const nameless = await page.evaluate(() => [...document.querySelectorAll('input,select,button')]
          .filter((e) => !e.labels?.length && !e.ariaLabel && !e.textContent.trim()).map((e) => e.outerHTML));
        assert.deepEqual(nameless, []);
        await picture(`${view.match(/view=(\w+)/)?.[1] ?? 'violations'}-${scheme}-${width}`);
      }
    }
  await page.emulateMedia({ colorScheme: 'light' });
  await page.setViewportSize({ width: 1500, height: 900 });
});

test('the security headers are strict and the page lives with them', async () => {
  const answer = await page.goto(address);
  const policy = answer.headers()['content-security-policy'];
  for (const part of ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "require-trusted-types-for 'script'"])
    assert.ok(policy.includes(part), `${part} is missing in ${policy}`);
  assert.doesNotMatch(policy, /unsafe/);
  assert.equal(answer.headers()['x-content-type-options'], 'nosniff');
});

test('another site cannot act with the session', async () => {
  const json = ['--header', 'Content-Type: application/json', '--data', '{}', ...await cookie()];
  assert.equal(request('api/v1/logout', '--header', 'Origin: https://evil.example', ...json), 403);
  assert.equal(request('api/v1/session', ...await cookie()), 200);
});

test('integrity: the log, who watches it, what does not fit', async () => {
  await page.goto(address);
  await page.getByRole('link', { name: 'Integrity' }).click();
  await page.getByText('Everything received is in it.').waitFor({ timeout: 30_000 });
  await page.getByText('Nobody outside watches this log.').waitFor();
  await page.getByText('No gap, no fork, no silent device.').waitFor();
  const vkey = run('log', store).trim();
  assert.ok(await page.getByText(vkey).isVisible());
  await picture('integrity');
  const answer = execFileSync('/usr/bin/python3', [join(support, 'seed.py'), '--gap', join(folder, 'gap'), 'https://localhost:18443',
    join(store, 'server-ca.pem'), run('token', store).trim(), 'ws-gap'], { encoding: 'utf8' }).trim();
  assert.equal(answer, '409');
  const witness = execFileSync(join(process.env.ONCHANNEL_BUILD, 'cli/onchannel-witness'), ['new', 'witness.example/w1', join(folder, 'w.key')],
    { encoding: 'utf8' }).trim();
  run('witness', store, 'add', witness);
  execFileSync(join(process.env.ONCHANNEL_BUILD, 'cli/onchannel-witness'), [`${address}log`, '--log-key', vkey, '--key', join(folder, 'w.key'),
    '--state', join(folder, 'w.state'), '--ca', join(store, 'server-ca.pem'), '--once']);
  await page.reload();
  await page.getByText('Records are missing').waitFor();
  assert.match(await page.getByRole('row', { name: /witness.example/ }).textContent(), /witness.example\/w1\d+/);
  await picture('integrity-findings');
});

test('an export from the page holds offline', async () => {
  const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('link', { name: 'Export evidence' }).click()]);
  await download.saveAs(join(folder, 'evidence.ndjson'));
  const said = execFileSync(join(process.env.ONCHANNEL_BUILD, 'cli/onchannel-verify'), [join(folder, 'evidence.ndjson'), '--log-key',
    run('log', store).trim(), '--witness', run('witness', store, 'list').split(' ')[0]], { encoding: 'utf8' });
  assert.match(said, /holds: every record/);
});

test('a violation shows where it is in the log', async () => {
  await page.goto(address);
  await rows().first().getByRole('link').first().click();
  await page.getByText(/Its batch is entry \d+ of \d+ in the log/).waitFor();
  await picture('violation-proof');
});

test('signing out ends the session on the server', async () => {
  const old = await cookie();
  await page.goto(address);
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByRole('button', { name: 'Sign in' }).waitFor();
  assert.equal(request('api/v1/session', ...old), 401);
});

test('the console stayed clean', () => {
  const unexpected = consoleErrors.filter((text) => !/status of 40[0134]|ERR_ABORTED/.test(text));
  assert.deepEqual(unexpected, []);
});
