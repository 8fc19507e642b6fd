// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

// Sockets, limits, and what preforkd and its measuring cost.

import { $, el, keyed, text } from "./dom.js";
import { bytes, count, percent, took } from "./format.js";

function listener(l) {
  const queue = l.queue === null ? "– waiting (the kernel does not tell)" : count(l.queue) + " waiting";
  return l.name + " on " + l.address + (l.accept && l.accept !== "shared" ? " (" + l.accept + ")" : "") + ", " + queue;
}

function cgroup(c) {
  if (c.current === null) return "– (there is none, or it cannot be read)";
  return bytes(c.current) + (c.limit === null ? ", no limit" : " of " + bytes(c.limit)) +
    (c.shmem === null ? "" : "; " + bytes(c.shmem) + " of it shared memory");
}

export function draw(s) {
  const v = s.supervisor, m = s.sampler;
  if (!$("listen").nodes) $("listen").textContent = "";
  const listen = s.listen.length ? s.listen.map(listener) : ["on nothing"];
  keyed($("listen"), listen.entries(), ([i]) => i, () => el("span", { class: "line" }), (node, [, words]) => text(node, words));
  text($("cgroup"), cgroup(s.memory.cgroup));
  text($("supervisor"), "version " + v.version + ", pid " + v.pid + ", PSS " + bytes(v.pss) + ", " +
    (v.cpu_seconds === null ? "– of CPU" : v.cpu_seconds.toFixed(2) + " s of CPU"));
  text($("sampler"), m.cpu_seconds.toFixed(2) + " s of CPU, " + percent(v.uptime > 0 ? m.cpu_seconds / v.uptime : 0) + " of a core (budget " +
    percent(m.budget) + ", first looks aside); longest read " + took(m.longest_call) + "; pages every " + took(m.interval));
}
