// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

// The time line: from /history, then live, an hour at most.

import { $, attribute, text } from "./dom.js";
import { bytes, clock, count, duration, minute, precise } from "./format.js";

const hour = 3600, interval = 2; // s
const kinds = ["used", "without", "saved", "ready"];

let times = [], columns = { used: [], without: [], saved: [], ready: [] };
let now = {}; // the newest figures
let range = 900, chart = null, hovered = null, changed = false, described = 0;

function last() {
  return times.length ? times[times.length - 1] : -Infinity;
}

function push(at, values) {
  times.push(at);
  for (const k of kinds) columns[k].push(values[k] ?? null);
  changed = true;
}

// add takes a snapshot's figures, one every two seconds.
export function add(s, at) {
  const m = s.memory, loading = s.supervisor.state === "loading"; // then nobody is there who could save
  now = {
    used: m.used, without: loading ? null : m.without_sharing, saved: loading ? null : m.saved,
    ready: s.workers.filter((w) => w.status === "ready").length,
  };
  if (at - last() < interval - 0.1) return;
  push(at, now);
  const old = times.findIndex((t) => t >= at - hour - interval);
  if (old > 60) { // seldom: moving 1,800 numbers for one costs more than keeping a few
    times = times.slice(old);
    for (const k of kinds) columns[k] = columns[k].slice(old);
  }
}

// history puts what the server remembers before what came since.
export function history(h) {
  const since = times, live = columns, end = h.at.length ? h.at[h.at.length - 1] : -Infinity;
  times = [...h.at];
  columns = { used: [...h.used], without: [...h.without_sharing], saved: [...h.saved], ready: [...h.ready] };
  since.forEach((t, i) => {
    if (t > end + interval / 2) push(t, Object.fromEntries(kinds.map((k) => [k, live[k][i]])));
  });
  changed = true;
}

export function reset() {
  times = [];
  columns = { used: [], without: [], saved: [], ready: [] };
  changed = true;
}

// colour is what the key of the chart shows: one place, the style sheet, says what is what.
function colour(kind) {
  return getComputedStyle(document.querySelector("#time-key ." + kind)).color;
}

// span is the part of time that is shown: what there is of the range, a minute at least.
function span() {
  const end = times.length ? last() : Date.now() / 1000;
  return [end - Math.min(range, Math.max(60, end - (times[0] ?? end))), end];
}

function make(box) {
  const soft = () => getComputedStyle($("at-time")).color;
  const grid = () => getComputedStyle(box).borderTopColor;
  const font = "12px " + getComputedStyle(document.body).fontFamily;
  const axis = { stroke: soft, font, ticks: { show: false } };
  const binary = Array.from({ length: 50 }, (_, i) => 2 ** i);
  const line = (kind, more) => ({ stroke: () => colour(kind), width: 2, points: { show: false }, ...more });
  return new window.uPlot({
    width: box.clientWidth, height: box.clientHeight, legend: { show: false }, padding: [12, 0, 0, 0],
    cursor: { drag: { x: false, y: false }, points: { size: 7 }, y: false },
    scales: {
      x: { time: true, range: span },
      y: { range: (_, low, high) => [Math.min(0, low ?? 0), (high ?? 2 ** 30) * 1.06] },
      n: { range: (_, low, high) => [0, Math.max(2, (high ?? 1) * 1.25)] },
    },
    series: [
      {},
      line("without", { scale: "y" }),
      line("used", { scale: "y" }),
      line("ready", { scale: "n", width: 1.5, dash: [2, 4], paths: window.uPlot.paths.stepped({ align: 1 }) }),
    ],
    bands: [{ series: [1, 2], fill: () => colour("saved") }],
    axes: [
      { ...axis, space: 70, size: 28, grid: { show: false }, values: (_, at) => at.map((t) => (t % 60 ? clock : minute)(new Date(t * 1000))) },
      { ...axis, scale: "y", size: 68, space: 38, incrs: binary, grid: { stroke: grid, width: 1 }, values: (_, at) => at.map(bytes) },
      { ...axis, scale: "n", side: 1, size: 38, space: 38, incrs: [1, 2, 5, 10, 20, 50, 100], grid: { show: false }, values: (_, at) => at.map(count) },
    ],
    hooks: { setCursor: [(u) => { hovered = u.cursor.idx; key(); }] },
  }, data(), box);
}

const data = () => [times, columns.without, columns.used, columns.ready];

// key shows the figures under the pointer, else the newest.
function key() {
  const past = hovered !== null && hovered !== undefined && times[hovered];
  for (const k of kinds) text($("at-" + k), (k === "ready" ? count : precise)(past ? columns[k][hovered] : now[k]));
  text($("at-time"), past ? clock(new Date(times[hovered] * 1000)) : "now");
}

// describe says the picture in a sentence, now and then.
function describe() {
  if (last() - described < 30) return;
  described = last();
  const from = times.findIndex((t) => t >= last() - range), end = times.length - 1;
  attribute($("chart"), "aria-label", "Time line of the last " + duration(last() - times[from]) + ": used " + precise(columns.used[from]) +
    " at its beginning and " + precise(columns.used[end]) + " now; without sharing it would be " + precise(columns.without[end]) +
    "; " + count(columns.ready[end]) + " workers are ready.");
}

export function draw() {
  const box = $("chart");
  if (!window.uPlot || box.clientWidth === 0) return;
  if (!chart) {
    chart = make(box);
    new ResizeObserver(() => {
      if (box.clientWidth > 0) chart.setSize({ width: box.clientWidth, height: box.clientHeight });
    }).observe(box);
  } else if (changed) {
    chart.setData(data());
  }
  changed = false;
  key();
  if (times.length > 0) describe();
}

// repaint draws the same in other colours.
export function repaint() {
  chart?.redraw(false, true);
}

export function ranges() {
  const buttons = [...document.querySelectorAll("[data-range]")];
  for (const button of buttons) {
    button.addEventListener("click", () => {
      range = Number(button.dataset.range);
      for (const b of buttons) attribute(b, "aria-pressed", b === button);
      described = 0;
      changed = true;
      draw();
    });
  }
}
