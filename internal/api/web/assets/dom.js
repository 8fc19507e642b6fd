// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

// Small helpers over the page. What comes from the server goes in by text() and attributes only, never as HTML.

export const $ = (id) => document.getElementById(id);

export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

// Control characters, and those that turn the direction of what follows.
const unprintable = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g;

export const clean = (value) => String(value).replace(unprintable, "?");

// text writes only what is new: an unchanged page costs no layout.
export function text(node, value) {
  if (node.shown === value) return;
  node.shown = value;
  node.textContent = clean(value);
}

// attribute sets one, or takes it away where value is null.
export function attribute(node, name, value) {
  if (value === null || value === undefined || value === "") {
    if (node.hasAttribute(name)) node.removeAttribute(name);
  } else if (node.getAttribute(name) !== String(value)) {
    node.setAttribute(name, value);
  }
}

// figure shows a number by its format, keeps the exact one beside it, and says why it is missing.
export function figure(node, value, format, reason = "not known yet") {
  text(node, format(value));
  const missing = value === null || value === undefined;
  attribute(node, "data-value", missing ? null : value);
  attribute(node, "title", missing ? reason : null);
}

// part sets the width of a bar's part; share is of the whole track.
export function part(node, share, from = 0) {
  const width = (100 * Math.max(0, Math.min(1, share || 0))).toFixed(2) + "%";
  show(node, share > 0);
  const left = (100 * Math.max(0, Math.min(1, from || 0))).toFixed(2) + "%";
  if (node.style.width !== width) node.style.width = width;
  if (node.style.left !== left) node.style.left = left;
}

export function show(node, visible) {
  if (node.hidden === visible) node.hidden = !visible;
}

// keyed makes the children of parent those that items ask for, in their order, and keeps what is there already.
export function keyed(parent, items, key, make, update) {
  const before = parent.nodes ?? new Map(), now = new Map();
  let place = parent.firstChild;
  for (const item of items) {
    let k = key(item);
    while (now.has(k)) k += "+";
    const node = before.get(k) ?? make(item);
    before.delete(k);
    now.set(k, node);
    update(node, item);
    if (node === place) place = place.nextSibling;
    else parent.insertBefore(node, place);
  }
  for (const node of before.values()) node.remove();
  parent.nodes = now;
}
