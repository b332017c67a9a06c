// SPDX-License-Identifier: GPL-3.0-or-later
// One GET whose answer follows its parameters; the older answer stays on screen until the newer is there.
import { useEffect, useRef, useState } from 'preact/hooks';
import { get } from './api.js';
import { session } from './session.js';

export function useQuery(path, parameters, { everyMs = 0, turn = 0 } = {}) {
  const [state, setState] = useState({ data: null, error: null, loading: true });
  const key = JSON.stringify([path, parameters]);
  const timer = useRef(0);

  useEffect(() => {
    const abort = new AbortController();
    const load = async () => {
      try {
        const data = await get(path, parameters, abort.signal);
        setState({ data, error: null, loading: false });
      } catch (error) {
        if (abort.signal.aborted) return;
        if (error.status === 401) session.value = null;
        setState((before) => ({ data: before.data, error, loading: false }));
      }
      if (everyMs && !abort.signal.aborted)
        timer.current = setTimeout(() => (document.hidden ? (timer.current = setTimeout(load, everyMs)) : load()), everyMs);
    };
    setState((before) => ({ ...before, loading: true }));
    load();
    return () => {
      abort.abort();
      clearTimeout(timer.current);
    };
  }, [key, everyMs, turn]);
  return state;
}

export const Problem = ({ error }) => error && <p class="problem" role="alert">{error.message}</p>;
