// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

// The workers, a row each, with bars on one scale.

import { $, attribute, el, figure, keyed, part, show, text } from "./dom.js";
import { bytes, count, duration, glued, plural, precise, unknown } from "./format.js";

const marks = { ready: "●", starting: "◑", stopping: "◌", backoff: "▲" };

// The cells of a row after the first, which is its head: name, label on a small screen, is it a number?
const cells = [
  ["status", "", false], ["pid", "pid", true], ["incarnation", "inc.", true], ["uptime", "up", true],
  ["requests", "requests", true], ["bar", "", false], ["private", "private", true], ["share", "share", true],
  ["rss", "RSS", true], ["age", "age", true], ["note", "", false],
];

function make() {
  const row = el("tr", { role: "row" });
  row.at = { id: el("th", { role: "rowheader", scope: "row", class: "id" }) };
  row.append(row.at.id);
  for (const [name, label, number] of cells) {
    row.at[name] = el("td", { role: "cell", class: (number ? "n " : "") + name });
    if (label) row.at[name].dataset.label = label;
    row.append(row.at[name]);
  }
  const at = row.at;
  at.mark = el("span", { class: "mark", "aria-hidden": "true" });
  at.word = el("span");
  at.status.append(at.mark, at.word);
  at.parts = ["claim", "private", "share"].map((kind) => el("i", { class: "fill " + kind }));
  at.bar.append(el("span", { class: "track", "aria-hidden": "true" }, ...at.parts));
  return row;
}

// The ends that somebody asked for: nothing is wrong with a slot whose last process ended so.
const wanted = ["stop", "reload", "restart", "scale"];

// share is the worker's part of the data in its proportional share. Pages that it copied by writing are its own: they are in
// private already.
export function share(w) {
  if (w.pid === null) return null;
  let sum = 0;
  for (const d of w.data) {
    if (d.pss === null || d.cow === null) return null;
    sum += d.pss - d.cow;
  }
  return sum;
}

function ending(e) {
  if (e.oom) return "killed by " + e.signal + " while the kernel’s OOM killer was at work";
  if (e.signal) return "killed by " + e.signal;
  return e.code === null ? "never started" : "exit code " + e.code;
}

function note(w, now) {
  const notes = [];
  if (w.pid !== null && w.sample.error) notes.push("figures: " + w.sample.error);
  else if (w.pid !== null && !w.sample.exact) notes.push("not counted page by page yet");
  if (w.replacing) notes.push("being replaced: " + w.replacing);
  if (w.status_text) notes.push(w.status_text);
  if (w.in_place?.length) notes.push("takes " + w.in_place.join(", ") + " in place");
  const e = w.last_exit;
  if (e && !wanted.includes(e.reason)) {
    notes.push("last end " + duration(now - Date.parse(e.at) / 1000) + " ago: " + ending(e) + " (" + e.reason + ")" +
      (w.respawn_count > 0 ? ", restarted " + count(w.respawn_count) + "×" : ""));
  }
  return notes.join(" · ");
}

function update(row, w, scale, now, place) {
  const at = row.at, why = w.pid === null ? "no process" : w.sample.error || "not measured yet";
  attribute(row, "data-status", w.status);
  attribute(row, "data-slot", place);
  attribute(row, "data-bad", w.status === "backoff" || (w.last_exit && w.last_exit.reason === "crash" &&
    now - Date.parse(w.last_exit.at) / 1000 < 60) ? "1" : null);
  text(at.id, w.id);
  text(at.mark, marks[w.status] ?? "");
  text(at.word, w.status);
  text(at.pid, w.pid === null ? unknown : w.pids.length > 1 ? w.pid + "+" + (w.pids.length - 1) : w.pid);
  attribute(at.pid, "title", w.pid === null ? why : w.pids.length > 1 ? "with its children: " + w.pids.join(", ") : null);
  text(at.incarnation, w.incarnation);
  figure(at.uptime, w.uptime, duration, why);
  figure(at.requests, w.requests, count, "the worker does not tell");
  const mine = share(w);
  figure(at.private, w.private, bytes, why);
  figure(at.share, mine, bytes, why);
  figure(at.rss, w.rss, bytes, why);
  const [claim, own, data] = at.parts;
  part(claim, w.rss / scale);
  part(own, w.private / scale);
  part(data, mine / scale, w.private / scale);
  const age = w.sample.at === null ? null : Math.max(0, now - Date.parse(w.sample.at) / 1000);
  text(at.age, duration(age));
  attribute(at.age, "title", age === null ? why : "read from " + w.sample.source);
  const words = note(w, now);
  text(at.note, words);
  attribute(at.note, "title", words);
}

// rounded is the end of the scale: a little above the largest figure, and steady while that moves a little.
function rounded(most) {
  if (most <= 0) return 1;
  const step = 2 ** Math.floor(Math.log2(most)) / 8;
  return Math.ceil(most / step) * step;
}

function sums(s, list) {
  const m = s.memory;
  if (!$("sums").firstChild) $("sums").append(make());
  const row = $("sums").firstChild, at = row.at;
  text(at.id, "All");
  figure(at.private, m.private, bytes, "a worker’s is not known");
  const shares = list.filter((w) => w.pid !== null).map(share);
  figure(at.share, shares.includes(null) ? null : shares.reduce((a, b) => a + b, 0), bytes, "a worker’s is not known");
  figure(at.rss, m.rss, bytes, "a worker’s is not known");
  text(at.note, "");
}

export function draw(s, now) {
  const list = [...s.workers].sort((a, b) => a.id - b.id || a.incarnation - b.incarnation);
  const scale = rounded(Math.max(0, ...list.map((w) => Math.max(w.rss ?? 0, (w.private ?? 0) + (share(w) ?? 0)))));
  const rows = new Map();
  for (const w of list) rows.set(w.id, (rows.get(w.id) ?? 0) + 1);
  let before = null;
  keyed($("rows"), list, (w) => w.id + ":" + w.incarnation, make, (row, w) => {
    update(row, w, scale, now, rows.get(w.id) < 2 ? null : before === w.id ? "second" : "first");
    before = w.id;
  });
  sums(s, list);
  text($("scale"), bytes(scale));
  attribute($("workers"), "data-many", list.length > 24 ? "1" : null);
  show($("sums"), list.length > 1);
  show($("workers-scroll"), list.length > 0);
  show($("no-workers"), list.length === 0);
  show($("why"), list.length > 0);
  const each = Object.keys(marks).map((status) => [list.filter((w) => w.status === status).length, status]);
  text($("workers-count"), each.filter(([n]) => n > 0).map(([n, status]) => count(n) + (status === "backoff" ? " in " : " ") + status).join(", "));
  const m = s.memory;
  text($("why"), m.rss === null || m.used === null || m.rss <= m.used ? "RSS counts the shared data again in every worker."
    : "RSS counts the shared data again in every worker: " + plural(list.length, "worker") + " claim" + (list.length === 1 ? "s " : " ") +
      glued(precise(m.rss) + ", where " + precise(m.used) + " are held."));
}
