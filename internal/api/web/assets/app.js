// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

// The page: what comes from the stream is kept here and drawn once a frame, never while nobody looks.

import { $, attribute, show, text } from "./dom.js";
import { duration } from "./format.js";
import { follow } from "./stream.js";
import * as chart from "./chart.js";
import * as data from "./data.js";
import * as events from "./events.js";
import * as footer from "./footer.js";
import * as headline from "./headline.js";
import * as workers from "./workers.js";

let snapshot = null; // the newest
let arrived = 0; // when it came, by this computer's clock, in ms
let fresh = false; // the connection has not brought a snapshot yet
let lived = false; // there has been a connection
let waiting = false; // a frame has been asked for

// moment is when a snapshot was taken, in seconds since 1970 by the server's clock.
const moment = (s) => Date.parse(s.supervisor.started_at) / 1000 + s.supervisor.uptime;

function draw() {
  waiting = false;
  if (document.hidden) return;
  events.draw();
  chart.draw();
  if (!snapshot) return;
  const now = moment(snapshot);
  headline.draw(snapshot, now);
  workers.draw(snapshot, now);
  data.draw(snapshot, now);
  footer.draw(snapshot);
  document.body.dataset.drawn = snapshot.supervisor.uptime;
}

function ask() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(draw);
}

// Sentences for those who do not see the page: a few, and not all at once.
const unsaid = [];
let silent = 0;

function say(words) {
  if (words) unsaid.push(words);
  if (unsaid.length === 0 || silent) return;
  text($("said"), unsaid.splice(0).slice(-3).join(". "));
  silent = setTimeout(() => { silent = 0; say(); }, 5000);
}

async function remember() {
  try {
    const answer = await fetch("history", { signal: AbortSignal.timeout(10000) });
    if (answer.ok) chart.history(await answer.json());
  } catch { /* the time line begins now */ }
  ask();
}

const retry = follow({
  open() {
    fresh = lived = true;
    events.reset(); // all that are kept are sent again
    remember();
    if (!$("banner").hidden) say("connected again");
    show($("banner"), false);
    text($("link"), "● live");
    attribute($("link"), "data-live", "1");
  },
  stats(s) {
    if (snapshot && s.supervisor.started_at !== snapshot.supervisor.started_at) {
      chart.reset();
      data.reset();
      remember();
      say("preforkd was started anew");
    }
    snapshot = s;
    arrived = performance.now();
    fresh = false;
    chart.add(s, moment(s));
    ask();
  },
  event(e) {
    events.add(e);
    if (!fresh) say(events.sentence(e)); // what happened before nobody waits for
    ask();
  },
  lost(seconds) {
    const old = snapshot ? "; figures are " + duration((performance.now() - arrived) / 1000) + " old" : "";
    const when = seconds > 0 ? "trying again in " + seconds + "s" : "trying again";
    const what = lived ? "Connection lost" : "No live connection";
    if ($("banner").hidden) say(what);
    show($("banner"), true);
    text($("lost"), what + ", " + when + old + ".");
    text($("link"), "○ not live");
    attribute($("link"), "data-live", null);
  },
});

// What scrolls in itself is reached by the keyboard, and nothing else is.
const measured = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    const box = target.closest(".scroll");
    attribute(box, "tabindex", box.scrollWidth > box.clientWidth || box.scrollHeight > box.clientHeight ? 0 : null);
  }
});
for (const box of document.querySelectorAll(".scroll")) {
  measured.observe(box);
  measured.observe(box.firstElementChild);
}

const themes = ["auto", "light", "dark"];
const system = matchMedia("(prefers-color-scheme: dark)");

function theme(change) {
  const root = document.documentElement;
  let name = root.dataset.theme ?? "auto";
  if (change) {
    name = themes[(themes.indexOf(name) + 1) % themes.length];
    if (name === "auto") delete root.dataset.theme;
    else root.dataset.theme = name;
    try { localStorage.setItem("preforkd-theme", name); } catch { /* not kept then */ }
  }
  text($("theme"), { auto: "◐ Auto", light: "☀ Light", dark: "☾ Dark" }[name]);
  attribute($("theme"), "aria-label", "Colours: " + name);
  chart.repaint();
}

show($("theme"), true);
theme(false);
chart.ranges();
$("theme").addEventListener("click", () => theme(true));
$("retry").addEventListener("click", retry);
system.addEventListener("change", () => chart.repaint());
document.addEventListener("visibilitychange", ask);
ask();
