// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

// The live connection: /events, tried again for ever when it breaks off, each time after a longer while.

const silence = 6000; // ms; the server speaks every second
const waits = [1, 2, 4, 8, 15]; // s

// follow calls on.open when a connection has brought its first message, then on.stats and on.event with what comes, and
// on.lost(seconds until the next try) while there is none. It returns a function that tries at once. Where there are figures but
// no stream, since too many listen or a proxy holds it back, each try brings the figures.
export function follow(on) {
  let source, heard, live = false, tries = 0, next = 0, asking = false;

  function open() {
    next = 0;
    heard = performance.now();
    source = new EventSource("events");
    source.addEventListener("stats", (e) => message(on.stats, e));
    source.addEventListener("event", (e) => message(on.event, e));
    source.addEventListener("end", lose);
    source.addEventListener("error", lose);
  }

  function message(take, e) {
    heard = performance.now();
    const value = JSON.parse(e.data);
    if (!live) {
      live = true;
      tries = 0;
      on.open();
    }
    take(value);
  }

  function lose() {
    source.close();
    live = false;
    next = performance.now() + 1000 * waits[Math.min(tries++, waits.length - 1)];
    on.lost(Math.ceil((next - performance.now()) / 1000));
    ask();
  }

  // ask is bounded: a browser has six connections, and the stream needs one of them.
  async function ask() {
    if (asking) return;
    asking = true;
    try {
      const answer = await fetch("stats", { signal: AbortSignal.timeout(5000) });
      const stats = answer.ok && await answer.json();
      if (stats && !live) on.stats(stats);
    } catch { /* nobody is there */ }
    asking = false;
  }

  function now() {
    if (live) return;
    source.close();
    open();
  }

  setInterval(() => {
    const at = performance.now(), left = Math.ceil((next - at) / 1000);
    if (next > 0 && left <= 0) open();
    if (next === 0 && at - heard > silence) lose();
    else if (tries > 0 && !live) on.lost(Math.max(0, left));
  }, 1000);
  addEventListener("online", now);
  addEventListener("pagehide", () => { source.close(); live = false; });
  addEventListener("pageshow", (e) => e.persisted && now());
  document.addEventListener("visibilitychange", () => document.hidden || next === 0 || now());
  open();
  return now;
}
