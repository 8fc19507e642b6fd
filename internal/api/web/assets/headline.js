// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

// The top of the page: the saving and what it is made of, the state, a reload as it happens.

import { $, attribute, figure, part, show, text } from "./dom.js";
import { bytes, count, duration, glued, percent, plural, precise, took } from "./format.js";

// unknownWhy says in a sentence why there is no saving to show.
function unknownWhy(s) {
  const state = s.supervisor.state;
  if (s.data.length === 0) return "There is no dataset: nothing is shared through preforkd.";
  if (state === "loading") return "The data is being loaded: there is nothing to compare yet.";
  if (s.data.every((d) => d.direct)) return "The workers open the data themselves (direct): preforkd holds none of it.";
  if (!s.workers.some((w) => w.pid !== null)) return "No worker runs: there is nothing to compare.";
  if (s.data.some((d) => d.version === 0)) return "Not known while data is being loaded.";
  const row = s.workers.find((w) => w.pid !== null && w.sample.error);
  return row ? "Not known: worker " + row.id + ": " + row.sample.error + "." : "Not known until the pages of every worker have been counted.";
}

function sentence(s) {
  const m = s.memory;
  const held = s.data.filter((d) => d.version > 0 && !d.direct);
  if (m.saved === null || held.length === 0) return unknownWhy(s);
  const workers = s.workers.filter((w) => w.pid !== null).length;
  const names = new Set(held.map((d) => d.name)).size;
  const instead = m.used === null ? "what is used in all is not known." : precise(m.used) + " instead of " + precise(m.without_sharing) + ".";
  if (m.saved < 0) {
    return "The data, " + precise(m.data) + ", is held, and " + plural(workers, "worker") + (workers === 1 ? " has" : " have") +
      " mapped " + precise(m.mapped) + " of it in all so far: " + instead;
  }
  const verb = workers === 1 ? " uses " : " use ";
  const copied = m.cow > 0 ? ", and " + (workers === 1 ? "has" : "have") + " copied " + precise(m.cow) + " of it by writing" : "";
  const what = held.length > names ? "old and new versions, " + precise(m.data) + " in all" : "one copy of " + precise(m.data);
  return plural(workers, "worker") + verb + what + copied + ": " + instead;
}

function saving(s) {
  const m = s.memory, none = s.data.every((d) => d.direct || d.version === 0);
  const saved = none ? null : m.saved;
  text($("headline").querySelector(".lead"), saved < 0 ? "So far sharing costs" : "Sharing saves");
  figure($("saved"), saved, (n) => precise(n === null ? n : Math.abs(n)), unknownWhy(s));
  attribute($("saved"), "data-unknown", saved === null ? "1" : null);
  text($("ratio"), saved >= 0 && saved !== null && m.saved_ratio !== null ? "(" + percent(m.saved_ratio) + ")" : "");
  attribute($("ratio"), "data-value", m.saved_ratio);
  text($("sentence"), glued(sentence(s)));
  document.title = (saved === null ? "" : precise(saved) + " saved · ") + s.supervisor.name + " · preforkd";

  const own = m.used === null || m.supervisor === null ? null : m.used - m.data - m.supervisor;
  const most = Math.max(m.used ?? 0, m.without_sharing ?? 0, m.data) || 1;
  const why = "not known until every worker has been measured";
  part($("bar-data"), m.data / most);
  part($("bar-own"), own / most, m.data / most);
  part($("bar-self"), m.supervisor / most, (m.data + own) / most);
  part($("bar-without"), m.without_sharing / most);
  figure($("used"), m.used, precise, why);
  figure($("without"), m.without_sharing, precise, unknownWhy(s));
  figure($("data-held"), m.data, bytes);
  figure($("own"), own, bytes, why);
  figure($("self"), m.supervisor, bytes, "preforkd has not been measured yet");
  text($("counterfactual"), glued(m.counterfactual));
  figure($("saved-full"), none ? null : m.saved_full, precise, unknownWhy(s));
  figure($("copies"), m.copies, (n) => (n === null ? "–" : n.toFixed(2)), unknownWhy(s));
  figure($("cow"), m.cow, bytes, unknownWhy(s));
  figure($("rss"), m.rss, precise, why);
}

const marks = { loading: "◔", starting: "◑", running: "●", stopping: "◌", stopped: "○" };

function status(s) {
  const v = s.supervisor;
  text($("name"), v.name);
  text($("state"), (marks[v.state] ?? "") + " " + v.state);
  attribute($("state"), "data-state", v.state);
  text($("uptime"), "for " + duration(v.uptime));
  text($("command"), v.command ? v.command.join(" ") : "");
  attribute($("command"), "title", v.command ? v.command.join(" ") : null);
}

// progress is an operation in words, as preforkd status has it.
export function progress(o) {
  let words = o.phase;
  if (o.phase !== "loading") words += ", " + o.done + " of " + plural(o.total, "worker") + (o.kind === "scale" ? " changed" : " replaced");
  if (o.failed_starts > 0) words += ", " + plural(o.failed_starts, "failed start") + " in a row";
  if (o.queued > 0) words += ", " + count(o.queued) + " more to come after it";
  return words;
}

const name = (kind) => kind.charAt(0).toUpperCase() + kind.slice(1);

function change(s, now) {
  const o = s.supervisor.operation, last = s.supervisor.last_reload;
  const failed = !o && last !== null && last.result === "failed";
  attribute($("change"), "data-now", o ? "running" : failed ? "failed" : null);
  show($("change-track"), o !== null);
  show($("change-more"), failed && Boolean(last.error));
  if (o) {
    const loading = o.phase === "loading";
    text($("change-text"), name(o.kind) + " for " + duration(now - Date.parse(o.started_at) / 1000) + ": " + progress(o));
    part($("change-bar"), loading ? 0 : o.done / o.total);
    attribute($("change-track"), "data-endless", loading ? "1" : null);
    attribute($("change-track"), "aria-valuemax", loading ? null : o.total);
    attribute($("change-track"), "aria-valuenow", loading ? null : o.done);
    attribute($("change-track"), "aria-valuetext", progress(o));
    return;
  }
  if (!last) {
    text($("change-text"), "No reload so far.");
    return;
  }
  const ago = duration(now - Date.parse(last.at) / 1000) + " ago";
  const how = { done: "done, every worker was replaced", unchanged: "nothing had changed", failed: "✕ failed, the old workers and the old data serve on" };
  text($("change-text"), "Last reload " + ago + ", after " + took(last.took) + ": " + (how[last.result] ?? last.result));
  text($("change-error"), last.error ?? "");
}

export function draw(s, now) {
  saving(s);
  status(s);
  change(s, now);
}
