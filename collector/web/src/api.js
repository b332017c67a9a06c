// SPDX-License-Identifier: GPL-3.0-or-later
// The collector's API (ARCHITECTURE.md, "Auditors"). A failure is an ApiError with the server's sentence.

export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function call(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { credentials: 'same-origin', cache: 'no-store', ...options });
  } catch {
    throw new ApiError(0, 'The collector does not answer. Check the network and try again.');
  }
  const body = await response.json().catch(() => null);
  if (!response.ok) throw new ApiError(response.status, body?.error ?? `The collector answered ${response.status}.`);
  return body;
}

export const get = (path, parameters, signal) => {
  const query = new URLSearchParams(
    Object.entries(parameters ?? {}).filter(([, value]) => value !== '' && value !== null && value !== undefined));
  return call(query.size ? `${path}?${query}` : path, { signal });
};

export const post = (path, body) =>
  call(path, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) });
