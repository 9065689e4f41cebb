"use strict";
// The data, and the time axis that the time line and the log share.

const data = JSON.parse(document.getElementById("data").textContent);
const SVG = "http://www.w3.org/2000/svg";

/** Makes an SVG element. Text goes in as text, never as markup. */
function svg(name, attributes, text) {
  const element = document.createElementNS(SVG, name);
  for (const key in attributes) element.setAttribute(key, attributes[key]);
  if (text !== undefined) element.textContent = text;
  return element;
}

/** Makes an HTML element with properties and children (nodes or text). */
function html(name, properties, ...children) {
  const element = document.createElement(name);
  for (const key in properties) {
    if (key in element) element[key] = properties[key];
    else element.setAttribute(key, properties[key]);
  }
  element.append(...children);
  return element;
}

/** Milliseconds as people say them; `step` tells how fine they have to be. */
function say(ms, step) {
  const size = Math.abs(ms);
  if (size >= 1000 || (step !== undefined && step >= 100)) {
    const digits = step === undefined ? 3 : Math.min(6, Math.max(0, Math.ceil(-Math.log10(step / 1000) - 1e-9)));
    return (ms / 1000).toFixed(digits) + " s";
  }
  if (size >= 1 || (step !== undefined && step >= 0.1)) {
    return ms.toFixed(step === undefined ? 2 : Math.min(3, Math.max(0, Math.ceil(-Math.log10(step) - 1e-9)))) + " ms";
  }
  return Math.round(ms * 1000) + " µs";
}

/** A step of 1, 2 or 5 times a power of ten, for about `count` marks over `width`. */
function niceStep(width, count) {
  const rough = width / count;
  const power = Math.pow(10, Math.floor(Math.log10(rough)));
  for (const factor of [1, 2, 5, 10]) if (rough <= factor * power) return factor * power;
  return 10 * power;
}

/** What is shown of the clock. Everyone who draws listens; everyone who changes it goes through here. */
const view = {
  from: 0,
  to: data.end || 1,
  zero: 0,
  chosen: -1, // row of the log
  listeners: [],
  /** The least width, in milliseconds: a microsecond is the finest that the clocks know. */
  least: 0.02,
  set(from, to) {
    const width = Math.min(Math.max(to - from, this.least), Math.max(data.end, this.least));
    let left = from + (to - from - width) / 2;
    left = Math.max(Math.min(left, data.end - width), 0);
    this.from = left;
    this.to = left + width;
    this.tell();
  },
  pan(part) {
    const by = (this.to - this.from) * part;
    const left = Math.max(0, Math.min(this.from + by, data.end - (this.to - this.from)));
    this.set(left, left + (this.to - this.from));
  },
  zoom(factor, at) {
    const around = at === undefined ? (this.from + this.to) / 2 : at;
    this.set(around - (around - this.from) * factor, around + (this.to - around) * factor);
  },
  /** Chooses a row of the log, and shows its moment if it is out of sight. */
  choose(row, show) {
    if (row < 0 || row >= data.log.length) return;
    this.chosen = row;
    const at = data.log[row][0];
    const width = this.to - this.from;
    if (show && (at < this.from || at > this.to)) this.set(at - width / 2, at + width / 2);
    else this.tell();
  },
  tell() {
    for (const listener of this.listeners) listener();
  },
};
