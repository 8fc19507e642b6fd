// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

// How values are written: as the program's own tables do.

export const unknown = "–";

const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

const known = (n) => n !== null && n !== undefined;

// scaled writes n bytes; decimals tells how many digits follow the point of a value.
function scaled(n, decimals) {
  if (!known(n)) return unknown;
  if (n < 0) return "−" + scaled(-n, decimals);
  if (n < 10) return n + " B";
  const e = Math.floor(Math.log(n) / Math.log(1024));
  const value = n / 1024 ** e;
  let digits = e === 0 ? 0 : decimals(value);
  const ten = 10 ** digits;
  const rounded = Math.floor(value * ten + 0.5) / ten;
  digits = e === 0 ? 0 : Math.min(digits, decimals(rounded));
  return rounded.toFixed(digits) + " " + units[e];
}

// bytes is go-humanize's IBytes: two digits at least.
export const bytes = (n) => scaled(n, (v) => (v < 10 ? 1 : 0));

// precise is for sentences, whose figures are added up by whoever reads them.
export const precise = (n) => scaled(n, (v) => (v < 100 ? 1 : 0));

// glued keeps numbers and their units on one line.
export const glued = (words) => words.replace(/(\d) (B|[KMGTPE]iB|%)/g, "$1\u00a0$2");

export const count = (n) => (known(n) ? n.toLocaleString("en") : unknown);

export const plural = (n, thing) => count(n) + " " + thing + (n === 1 ? "" : "s");

// duration writes seconds with their two largest units: "42s", "3m07s", "5h02m", "9d04h".
export function duration(seconds) {
  if (!known(seconds)) return unknown;
  const s = Math.floor(Math.max(0, seconds));
  const two = (n) => String(n).padStart(2, "0");
  if (s < 60) return s + "s";
  if (s < 3600) return Math.floor(s / 60) + "m" + two(s % 60) + "s";
  if (s < 86400) return Math.floor(s / 3600) + "h" + two(Math.floor((s % 3600) / 60)) + "m";
  return Math.floor(s / 86400) + "d" + two(Math.floor((s % 86400) / 3600)) + "h";
}

// took writes how long something took: tenths matter below a minute.
export const took = (s) => (s < 0.0995 ? (s * 1000).toPrecision(2) + " ms" : s < 59.95 ? s.toFixed(1) + "s" : duration(s));

// percent never says 100 % of what is only nearly all, nor 0 % of what is only nearly nothing.
export function percent(ratio) {
  if (!known(ratio)) return unknown;
  const p = 100 * ratio;
  if (p > 0 && p < 0.05) return "< 0.1 %";
  if (p > 99.9 && p < 100) return "> 99.9 %";
  return p.toFixed(p !== 0 && (p < 0.95 || (p > 99 && p < 100)) ? 1 : 0) + " %";
}

const clockFormat = new Intl.DateTimeFormat("en", { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const minuteFormat = new Intl.DateTimeFormat("en", { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });

export const clock = (date) => clockFormat.format(date);
export const minute = (date) => minuteFormat.format(date);
