// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

// What happened, the newest first.

import { $, attribute, clean, el, keyed, show, text } from "./dom.js";
import { clock } from "./format.js";

const most = 256;
const marks = {
  loaded: "▤", freed: "▢", started: "+", ready: "●", took: "⇄", ended: "–", begun: "▸", done: "✓", failed: "✕", stopping: "◌",
};

let list = []; // newest first
let changed = false;

export function add(e) {
  list.unshift(e);
  if (list.length > most) list.length = most;
  changed = true;
}

export function reset() {
  list = [];
  changed = true;
}

function make(e) {
  const at = new Date(e.at);
  const item = el("li");
  const time = el("time", { datetime: e.at, title: at.toLocaleString() });
  const mark = el("span", { class: "mark", "aria-hidden": "true" });
  const words = el("span", { class: "words" });
  text(time, clock(at));
  text(mark, e.bad ? "!" : (marks[e.kind] ?? "·"));
  if (e.bad) words.append(el("span", { class: "unseen" }, "Problem: "));
  if (e.worker !== undefined && e.worker !== null) {
    const who = el("b");
    text(who, "worker " + e.worker + " ");
    words.append(who);
    words.title = "pid " + (e.pid ?? "–") + ", incarnation " + (e.incarnation ?? "–");
  }
  words.append(clean(e.text));
  item.append(time, mark, words);
  attribute(item, "data-bad", e.bad ? "1" : null);
  attribute(item, "data-kind", e.kind);
  return item;
}

export function draw() {
  if (!changed) return;
  changed = false;
  keyed($("events"), list, (e) => e.seq + "@" + e.at, make, () => {});
  show($("events-scroll"), list.length > 0);
  show($("no-events"), list.length === 0);
}

// sentence is an event for the live region; null for those that nobody waits for.
export function sentence(e) {
  const who = e.worker !== undefined && e.worker !== null ? "worker " + e.worker + " " : "";
  return e.bad || ["begun", "done", "failed", "stopping"].includes(e.kind) ? who + e.text : null;
}
