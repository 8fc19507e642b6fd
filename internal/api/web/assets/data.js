// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

// The datasets and their versions; a load as it goes on.

import { $, attribute, el, figure, keyed, part, show, text } from "./dom.js";
import { bytes, count, duration, percent, unknown } from "./format.js";

const cells = [
  ["version", "", false], ["format", "", false], ["size", "size", true], ["resident", "resident", true], ["huge", "huge", true],
  ["users", "workers", true],
];

// What was loaded when, by dataset: the rate is that of the last few seconds.
const seen = new Map();
const span = 5; // s

function make() {
  const row = el("tr", { role: "row" });
  row.at = { name: el("b"), source: el("span", { class: "source" }) };
  row.append(el("th", { role: "rowheader", scope: "row", class: "name" }, row.at.name, row.at.source));
  for (const [name, label, number] of cells) {
    row.at[name] = el("td", { role: "cell", class: (number ? "n " : "") + name });
    if (label) row.at[name].dataset.label = label;
    row.append(row.at[name]);
  }
  row.at.number = el("span");
  row.at.digest = el("small");
  row.at.version.append(row.at.number, row.at.digest);
  return row;
}

function makeLoad() {
  const row = el("tr", { role: "row", class: "load" });
  row.at = { fill: el("i", { class: "fill private" }), words: el("span") };
  row.at.track = el("span", { class: "track", role: "progressbar", "aria-valuemin": 0, "aria-valuemax": 100 }, row.at.fill);
  row.append(el("td", { role: "cell", colspan: 1 + cells.length }, row.at.track, row.at.words));
  return row;
}

function format(d) {
  const words = [];
  if (d.format) words.push([d.format, d.dtype, d.shape?.join("×")].filter(Boolean).join(" "));
  if (d.members) words.push(d.members === 1 ? "1 array" : count(d.members) + " arrays");
  if (d.codec) words.push("from " + d.codec);
  if (d.direct) words.push("direct");
  if (d.locked) words.push("locked");
  return words.join(", ");
}

function update(row, d) {
  const at = row.at, loading = d.version === 0, why = loading ? "not known while it is loaded" : "not known";
  text(at.name, d.name);
  text(at.source, d.source);
  attribute(at.source, "title", d.source);
  text(at.number, loading ? "loading" : "v" + d.version);
  attribute(row, "data-loading", loading ? "1" : null);
  text(at.format, format(d) || unknown);
  attribute(at.format, "title", format(d) ? null : why);
  figure(at.size, d.size, bytes, why);
  figure(at.resident, d.resident, bytes, why);
  figure(at.huge, d.huge, bytes, loading ? why : "no worker’s scan has shown it");
  figure(at.users, d.workers, count);
  text(at.digest, d.sha256 ? d.sha256.slice(0, 12) : unknown);
  attribute(at.digest, "title", d.sha256 ?? (d.direct ? "not reckoned for a direct one" : loading ? why : "still being reckoned, behind the load"));
}

// measure says how far a load is: of its content where one knows how much that will be, else of its source.
function measure(d, now) {
  const bySource = d.size === null && d.source_size !== null;
  const done = bySource ? d.read : d.loaded, total = bySource ? d.source_size : d.size;
  const points = seen.get(d.name) ?? [];
  if (points.length > 0 && done < points.at(-1)[1]) points.length = 0; // another load
  if (points.length === 0 || now > points.at(-1)[0]) points.push([now, done]);
  while (points.length > 2 && points[0][0] < now - span) points.shift();
  seen.set(d.name, points);
  const [then, was] = points[0];
  const rate = now - then >= 0.5 ? (done - was) / (now - then) : null;
  return { bySource, done, total, rate };
}

function updateLoad(row, d, now) {
  const at = row.at, m = measure(d, now), known = m.total !== null && m.total > 0;
  let words = bytes(m.done) + (known ? " of " + bytes(m.total) + ", " + percent(Math.min(1, m.done / m.total)) : " so far");
  if (m.bySource) words += " of the source, " + bytes(d.loaded) + " unpacked";
  if (m.rate !== null) words += ", " + bytes(Math.round(m.rate)) + "/s";
  if (known && m.rate > 0) words += ", " + duration(Math.ceil((m.total - m.done) / m.rate)) + " left";
  text(at.words, words);
  part(at.fill, known ? m.done / m.total : 0);
  attribute(at.track, "data-endless", known ? null : "1");
  attribute(at.track, "aria-label", "Loading " + d.name);
  attribute(at.track, "aria-valuenow", known ? Math.floor((100 * m.done) / m.total) : null);
  attribute(at.track, "aria-valuetext", words);
}

export function draw(s, now) {
  const rows = [];
  for (const d of s.data) {
    rows.push([d, false]);
    if (d.version === 0) rows.push([d, true]);
  }
  for (const name of seen.keys()) {
    if (!s.data.some((d) => d.name === name && d.version === 0)) seen.delete(name);
  }
  keyed($("data"), rows, ([d, load]) => d.name + ":" + d.version + (load ? ":load" : ""), ([, load]) => (load ? makeLoad() : make()),
    (row, [d, load]) => (load ? updateLoad(row, d, now) : update(row, d)));
  show($("data-scroll"), rows.length > 0);
  show($("no-data"), rows.length === 0);
}

export const reset = () => seen.clear();
