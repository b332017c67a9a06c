// SPDX-License-Identifier: GPL-3.0-or-later
// Times are shown in the reader's zone with the zone named, and in UTC in the title.
// The Swedish form is ISO 8601's: no reader takes the month for the day.
const absolute = new Intl.DateTimeFormat('sv-SE',
  { year: 'numeric', month: '2-digit', day: '2-digit', hour: '2-digit', minute: '2-digit', second: '2-digit' });
const relative = new Intl.RelativeTimeFormat(undefined, { numeric: 'auto' });

export const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
const LAST_MS = 8.64e15; // ECMA-262, "Time Values and Time Range": what a device says may lie behind it
export const time = (ms) => (ms && ms <= LAST_MS ? absolute.format(new Date(ms)) : '–');
export const utc = (ms) => (ms && ms <= LAST_MS ? new Date(ms).toISOString() : undefined);

export function ago(ms, now = Date.now()) {
  if (!ms) return 'never';
  const seconds = Math.round((ms - now) / 1000);
  for (const [unit, size] of [['day', 86400], ['hour', 3600], ['minute', 60]])
    if (Math.abs(seconds) >= size) return relative.format(Math.trunc(seconds / size), unit);
  return relative.format(Math.min(seconds, 0), 'second');
}

// <input type="datetime-local"> holds local time without a zone.
export function fromLocal(text) {
  const ms = Date.parse(text);
  return Number.isNaN(ms) ? '' : String(ms);
}
export function toLocal(ms) {
  if (!/^\d+$/.test(ms ?? '')) return '';
  const date = new Date(Number(ms));
  return new Date(date - date.getTimezoneOffset() * 60000).toISOString().slice(0, 16);
}

export const program = (path) => path?.split('/').pop() || '–';

// Words for people; what is not listed is shown as it is.
export const words = {
  layer: { exec: 'program start', dns: 'name look-up', connect: 'connection', tls: 'TLS server name', quic: 'QUIC server name',
    http: 'HTTP', browser: 'browser', agent: 'the agent itself' },
  outcome: { passed: 'let through, reported', denied: 'denied', killed: 'ended', dropped: 'dropped', reset: 'reset',
    allowed: 'allowed' },
  tier: { program: 'the program', name: 'the name', address: 'an address of this channel alone', none: '–' },
};
export const word = (kind, value) => words[kind]?.[value] ?? value ?? '–';
