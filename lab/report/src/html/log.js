"use strict";
// The log: console and device events on one clock. Only the rows in sight are in the page.

(function () {
  const root = document.getElementById("log-view");
  const HEIGHT = 20;
  const WHO = ["kernel", "driver", "lab", "device", "tables", "signals", "trace"];
  const NAMES = ["kernel", "driver", "lab", "device", "page tables", "fences and interrupts", "tracepoints"];
  const counts = WHO.map(() => 0);
  for (const row of data.log) counts[row[1]] += 1;

  const wanted = WHO.map((who, index) => !(who === "signals" && data.log.length > 2000) && counts[index] > 0);
  const search = html("input", {
    type: "search", placeholder: "Filter: words, or /expression/", ariaLabel: "Filter the log by words or by /regular expression/",
  });
  const tied = html("input", { type: "checkbox" });
  const boxes = WHO.map((who, index) => {
    const box = html("input", { type: "checkbox", checked: wanted[index], disabled: counts[index] === 0 });
    box.addEventListener("change", () => { wanted[index] = box.checked; filter(); });
    return html("label", { className: "chip" }, box, NAMES[index] + " " + counts[index]);
  });
  const bar = html("div", { className: "bar" }, search, ...boxes, html("label", { className: "chip" }, tied, "only what the time line shows"));
  const space = html("div", {});
  const rows = html("div", { className: "rows", tabIndex: 0, role: "listbox", ariaLabel: "Log; up and down choose a line" }, space);
  const count = html("p", { className: "hint", ariaLive: "polite" });
  const whole = html("div", { className: "whole", ariaLive: "polite" }, "Choose a line to see all of it, and its moment in the time line.");
  root.append(bar, rows, count, whole);

  let shown = []; // indices into the log
  let test = null;
  let words = [];

  function filter() {
    const text = search.value.trim();
    test = null;
    words = [];
    let bad = false;
    const expression = text.match(/^\/(.+?)\/?$/);
    if (expression) {
      try { test = new RegExp(expression[1], "i"); } catch { bad = true; }
    } else words = text.toLowerCase().split(/\s+/).filter(Boolean);
    search.setAttribute("aria-invalid", bad ? "true" : "false");
    shown = [];
    for (let i = 0; i < data.log.length; i++) {
      const row = data.log[i];
      if (!wanted[row[1]]) continue;
      if (tied.checked && (row[0] < view.from || row[0] > view.to)) continue;
      if (test && !test.test(row[3])) continue;
      if (words.length) {
        const lower = row[3].toLowerCase();
        if (!words.every((word) => lower.includes(word))) continue;
      }
      shown.push(i);
    }
    count.textContent = shown.length === data.log.length ? shown.length + " lines" : shown.length + " of " + data.log.length + " lines";
    // Rows that are still there would keep the old height.
    space.replaceChildren();
    space.style.height = shown.length * HEIGHT + "px";
    paint();
  }

  function paint() {
    const first = Math.max(0, Math.floor(rows.scrollTop / HEIGHT) - 10);
    const last = Math.min(shown.length, first + Math.ceil(rows.clientHeight / HEIGHT) + 20);
    const parts = [];
    for (let i = first; i < last; i++) parts.push(line(shown[i], i));
    if (!shown.length) parts.push(html("p", { className: "empty" }, "No line fits."));
    space.replaceChildren(...parts);
  }

  function line(index, place) {
    const [at, source, bad, text] = data.log[index];
    const what = html("span", { className: "what" });
    what.append(...marked(text));
    const row = html("div", { className: "row s" + source + (bad ? " bad" : "") + (index === view.chosen ? " chosen" : ""), role: "option" },
      html("span", { className: "at" }, ((at - view.zero) / 1000).toFixed(6)), html("span", { className: "who" }, WHO[source]), what);
    row.setAttribute("aria-selected", index === view.chosen ? "true" : "false");
    row.style.top = place * HEIGHT + "px";
    row.addEventListener("click", () => view.choose(index, true));
    return row;
  }

  /** The text with what was looked for marked in it. */
  function marked(text) {
    const found = test ? text.match(test) : null;
    let at = found ? found.index : -1, length = found ? found[0].length : 0;
    if (words.length) {
      at = text.toLowerCase().indexOf(words[0]);
      length = words[0].length;
    }
    if (at < 0 || !length) return [text];
    return [text.slice(0, at), html("mark", {}, text.slice(at, at + length)), text.slice(at + length)];
  }

  /** The place of the chosen line among those shown; the nearest before it if it is filtered out. */
  function placeOf(index) {
    let low = 0, high = shown.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (shown[middle] < index) low = middle + 1;
      else high = middle;
    }
    return shown[low] === index ? low : Math.max(0, low - 1);
  }

  let seen = -1, zero = view.zero;
  function follow() {
    if (tied.checked || zero !== view.zero) {
      zero = view.zero;
      filter();
    }
    if (view.chosen === seen) return;
    seen = view.chosen;
    const row = data.log[seen];
    if (!wanted[row[1]]) {
      wanted[row[1]] = true;
      boxes[row[1]].querySelector("input").checked = true;
      filter();
    }
    const top = placeOf(seen) * HEIGHT;
    if (top < rows.scrollTop + HEIGHT || top > rows.scrollTop + rows.clientHeight - 3 * HEIGHT) rows.scrollTop = Math.max(0, top - rows.clientHeight / 3);
    paint();
    whole.textContent = "+" + (row[0] / 1000).toFixed(6) + " s  " + new Date((data.start_unix_us + row[0] * 1000) / 1000).toISOString() + "  " + WHO[row[1]] + "\n" + row[3];
  }

  rows.addEventListener("scroll", () => requestAnimationFrame(paint));
  rows.addEventListener("keydown", (event) => {
    const by = { ArrowDown: 1, ArrowUp: -1, PageDown: 20, PageUp: -20 }[event.key];
    if (!by || !shown.length) return;
    event.preventDefault();
    const place = view.chosen < 0 ? 0 : placeOf(view.chosen) + by;
    view.choose(shown[Math.max(0, Math.min(shown.length - 1, place))], true);
  });
  let typing = 0;
  search.addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(filter, 120); });
  tied.addEventListener("change", filter);
  view.listeners.push(follow);
  filter();
  // The log opens where the time line does.
  rows.scrollTop = Math.max(0, shown.findIndex((index) => data.log[index][0] >= view.from) * HEIGHT);
})();
