// SPDX-License-Identifier: GPL-3.0-or-later
// What is shown is a function of the address, so that every view can be sent as a link and found again.
import { signal } from '@preact/signals';

export const parameters = signal(new URLSearchParams(location.search));

addEventListener('popstate', () => {
  parameters.value = new URLSearchParams(location.search);
});

export function href(values) {
  const query = new URLSearchParams(Object.entries(values).filter(([, value]) => value !== '' && value != null));
  return query.size ? `/?${query}` : '/';
}

export function go(values, { replace = false } = {}) {
  const to = href(values);
  history[replace ? 'replaceState' : 'pushState'](null, '', to);
  parameters.value = new URLSearchParams(location.search);
}

// A link that changes the view without loading the page again, and still opens in a new tab.
export function Link({ to, children, ...rest }) {
  const follow = (event) => {
    if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    go(to);
    scrollTo(0, 0);
  };
  return <a href={href(to)} onClick={follow} {...rest}>{children}</a>;
}
