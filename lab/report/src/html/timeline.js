"use strict";
// The time line: lanes drawn anew for every part of the clock that is looked at.

(function () {
  const root = document.getElementById("timeline");
  const ROW = 20, PAD = 6, AXIS = 26, BARS = 84, STRIP = 24, ACTIVITY = 20, OVERVIEW = 34, BIN = 3;
  const narrow = () => root.clientWidth < 640;
  let geometry = []; // per lane: top, height, and what can be hit
  let pointer = null;
  let flat = []; // all items in the order of time, for the keyboard
  let current = -1;

  data.lanes.forEach((lane, index) => lane.items.forEach((item) => flat.push({ lane: index, item })));
  flat.sort((a, b) => a.item.from - b.item.from || a.item.row - b.item.row);

  const description =
    "Time line of the run. Left and right move, plus and minus zoom, Home shows everything, N and P go to the next and the " +
    "previous item, Enter shows its line in the log. The same in words is below.";
  const chart = svg("svg", { tabindex: 0, role: "application", "aria-label": description });
  const overview = svg("svg", { "aria-hidden": "true", height: OVERVIEW });
  const tip = html("div", { className: "tip", hidden: true });
  const spoken = html("p", { className: "unseen", ariaLive: "polite" });
  const plot = html("div", { className: "plot" }, chart, html("div", { className: "overview" }, overview), tip);

  const bar = html("div", { className: "bar", role: "toolbar", ariaLabel: "Part of the time line" });
  const buttons = data.views.map((wanted) => {
    const button = html("button", { type: "button", onclick: () => show(wanted) }, wanted.title);
    bar.append(button);
    return button;
  });
  const small = (label, name, act) => html("button", { type: "button", ariaLabel: name, title: name, onclick: act }, label);
  bar.append(
    html("span", { className: "gap" }),
    small("−", "Zoom out", () => view.zoom(2)),
    small("+", "Zoom in", () => view.zoom(0.5)),
    small("←", "Earlier", () => view.pan(-0.25)),
    small("→", "Later", () => view.pan(0.25))
  );
  const legend = html("ul", { className: "legend" });
  const kinds = new Map();
  for (const lane of data.lanes) {
    if (lane.kind !== "bars") continue;
    for (const series of lane.series) kinds.set(series.class, series.name.replace(/, (VRAM|system memory)$/, ""));
  }
  for (const [kind, name] of kinds) {
    const box = svg("svg", { width: 10, height: 10, "aria-hidden": "true" });
    box.append(svg("rect", { width: 10, height: 10, rx: 2, class: "f-" + kind }));
    legend.append(html("li", {}, box, " " + name));
  }
  root.append(
    bar, plot, legend,
    html("p", { className: "hint" }, "Drag to move, Ctrl and wheel to zoom, double-click an item to fill the view with it; " +
      "with the keyboard: arrows, + and −, N and P for the next and previous item, Enter for its line in the log."),
    spoken
  );

  function show(wanted) {
    view.zero = wanted.zero;
    view.set(wanted.from, wanted.to);
  }

  const left = () => (narrow() ? 8 : 168);
  const right = () => Math.max(root.clientWidth - 2, 200) - 10;
  const x = (at) => left() + ((at - view.from) / (view.to - view.from)) * (right() - left());
  const time = (px) => view.from + ((px - left()) / (right() - left())) * (view.to - view.from);

  /** The first point at or after a time. */
  function search(points, at) {
    let low = 0, high = points.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (points[middle][0] < at) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Sums of a series per bin of the width of a few pixels. */
  function bins(series) {
    const found = new Map();
    const { points } = series;
    const end = time(right());
    for (let i = search(points, time(left())); i < points.length && points[i][0] <= end; i++) {
      const bin = Math.floor((x(points[i][0]) - left()) / BIN);
      const entry = found.get(bin) || { sum: 0, count: 0, log: points[i][2], from: points[i][0], to: points[i][0] };
      entry.sum += points[i][1];
      entry.count += 1;
      entry.to = points[i][0];
      found.set(bin, entry);
    }
    return found;
  }

  function laneHeight(lane) {
    const head = narrow() ? 16 : 0;
    if (lane.kind === "bars") return head + BARS + PAD;
    if (lane.kind === "activity") return head + ACTIVITY + PAD;
    const rows = lane.items.reduce((most, item) => Math.max(most, item.row), 0) + 1;
    return head + rows * (lane.kind === "strip" ? STRIP : ROW) + PAD;
  }

  function draw() {
    const width = root.clientWidth - 2;
    const lanes = data.lanes;
    const height = AXIS + lanes.reduce((sum, lane) => sum + laneHeight(lane), 0) + 4;
    chart.setAttribute("viewBox", "0 0 " + width + " " + height);
    chart.setAttribute("height", height);
    const clip = svg("clipPath", { id: "inside" });
    clip.append(svg("rect", { x: left(), y: 0, width: right() - left(), height }));
    const hatch = svg("pattern", { id: "hatch", width: 8, height: 8, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" });
    hatch.append(svg("line", { class: "hatch", x1: 0, y1: 0, x2: 0, y2: 8 }));
    const defs = svg("defs", {});
    defs.append(clip, hatch);
    const back = svg("g", {});
    const body = svg("g", { "clip-path": "url(#inside)" });
    const labels = svg("g", {});
    axis(back, height);
    geometry = [];
    let top = AXIS;
    lanes.forEach((lane, index) => {
      const high = laneHeight(lane);
      if (index % 2 === 0) back.append(svg("rect", { class: "band", x: 0, y: top, width, height: high }));
      const head = narrow() ? 16 : 0;
      const inner = top + PAD / 2 + head;
      const place = { lane, top, bottom: top + high, inner, hits: [] };
      labels.append(named(lane, narrow() ? 8 : 10, narrow() ? top + 13 : inner + 14));
      if (lane.kind === "bars") bars(lane, inner, body, labels, place);
      else if (lane.kind === "activity") activity(lane, inner, body, place);
      else items(lane, inner, body, labels, place);
      geometry.push(place);
      top += high;
    });
    const marks = svg("g", {});
    if (view.chosen >= 0) {
      const at = data.log[view.chosen][0];
      if (at >= view.from && at <= view.to) marks.append(svg("line", { class: "chosen", x1: x(at), x2: x(at), y1: AXIS - 6, y2: height }));
    }
    if (pointer) {
      const px = Math.max(left(), Math.min(pointer.x, right()));
      marks.append(svg("line", { class: "cursor", x1: px, x2: px, y1: AXIS - 6, y2: height }));
      const anchor = px > right() - 90 ? "end" : px < left() + 90 ? "start" : "middle";
      marks.append(svg("text", { class: "clock", x: px, y: 12, "text-anchor": anchor }, clock(time(px), (view.to - view.from) / 500)));
    }
    chart.replaceChildren(defs, back, body, labels, marks);
    drawOverview(width);
    buttons.forEach((button, index) => {
      const wanted = data.views[index];
      const near = Math.abs(view.from - wanted.from) + Math.abs(view.to - wanted.to) < (wanted.to - wanted.from) * 0.02;
      button.setAttribute("aria-pressed", near ? "true" : "false");
    });
  }

  /** The title of a lane, cut to the room that there is. */
  function named(lane, at, y) {
    const group = svg("g", {});
    const label = svg("text", { class: "title", x: at, y }, lane.title);
    group.append(svg("title", {}, lane.about), label);
    return group;
  }

  const clock = (at, step) => (view.zero && at >= view.zero ? "+" : "") + say(at - view.zero, step);

  function axis(group, height) {
    const step = niceStep(view.to - view.from, Math.max(2, (right() - left()) / 110));
    const first = Math.ceil((view.from - view.zero) / step) * step + view.zero;
    for (let at = first; at <= view.to + step * 1e-9; at += step) {
      const px = x(at);
      group.append(svg("line", { class: "grid", x1: px, x2: px, y1: AXIS - 4, y2: height }));
      const shown = Math.abs(at - view.zero) < step / 1000 ? "0" : clock(at, step);
      if (!pointer || Math.abs(px - pointer.x) > 90) {
        const anchor = px < left() + 20 ? "start" : px > right() - 26 ? "end" : "middle";
        group.append(svg("text", { class: "soft small", x: px, y: 13, "text-anchor": anchor }, shown));
      }
    }
    group.append(svg("line", { class: "rule", x1: left(), x2: right(), y1: AXIS - 4, y2: AXIS - 4 }));
  }

  function items(lane, inner, body, labels, place) {
    const strip = lane.kind === "strip";
    const pitch = strip ? STRIP : ROW;
    const tall = pitch - (strip ? 3 : 4);
    if (!narrow()) lane.rows.forEach((title, row) => labels.append(svg("text", { class: "soft small", x: left() - 8, y: inner + row * pitch + 15, "text-anchor": "end" }, title)));
    const taken = []; // per row: up to where text reaches
    const sorted = lane.items.filter((item) => item.to >= view.from && item.from <= view.to).sort((a, b) => a.from - b.from);
    const crowded = sorted.length > 3000 ? Math.ceil(sorted.length / 3000) : 1;
    // The next item in the same row: a label may reach up to it.
    const after = new Array(sorted.length);
    const last = [];
    for (let index = sorted.length - 1; index >= 0; index--) {
      after[index] = last[sorted[index].row];
      last[sorted[index].row] = sorted[index];
    }
    sorted.forEach((item, index) => {
      const next = after[index];
      if (crowded > 1 && index % crowded && item.from === item.to) return;
      const y = inner + item.row * pitch;
      const a = Math.max(x(item.from), left() - 4), b = Math.min(x(item.to), right() + 4);
      const instant = item.from === item.to;
      const chosen = current >= 0 && flat[current].item === item ? " current" : "";
      if (instant) {
        body.append(svg("path", { class: "hit f-" + item.class + chosen, d: "M" + a + " " + (y + 1) + "l5 " + tall / 2 + "l-5 " + tall / 2 + "l-5 " + -tall / 2 + "z" }));
        if (a - 6 > (taken[item.row] || 0)) {
          const room = (next ? Math.max(x(next.from), a) : right() + 60) - a - 14;
          const text = fit(item.label, room, false);
          if (text) {
            body.append(svg("text", { class: "beside", x: a + 8, y: y + 13 }, text));
            taken[item.row] = a + 8 + measure(text, false);
          }
        }
        place.hits.push({ item, x1: a - 6, x2: a + 6, y1: y, y2: y + tall });
        return;
      }
      const wide = Math.max(b - a, 1.5);
      const shape = { x: a, y: y + 1, width: wide, height: tall, rx: wide > 6 ? 2 : 0 };
      body.append(svg("rect", { ...shape, class: "hit f-" + item.class + (strip ? " strip" : "") + chosen }));
      if (["lost", "losing", "hung", "reset-open"].includes(item.class)) body.append(svg("rect", { ...shape, fill: "url(#hatch)", "pointer-events": "none" }));
      const start = Math.max(a, left()) + 5;
      const text = fit(item.label, Math.min(a + wide, right()) - start - 4, true);
      if (!text && !strip) {
        const room = (next ? x(next.from) : right()) - (a + wide) - 10;
        if (a + wide > (taken[item.row] || 0) && measure(item.label, false) < room) {
          body.append(svg("text", { class: "beside", x: a + wide + 5, y: y + tall / 2 + 5 }, item.label));
          taken[item.row] = a + wide + 5 + measure(item.label, false);
        }
      }
      if (text) body.append(svg("text", { class: "inside" + (strip ? " strip-text-" + item.class : ""), x: start, y: y + tall / 2 + 5 }, text));
      place.hits.push({ item, x1: a - 2, x2: a + wide + 2, y1: y, y2: y + tall });
    });
  }

  const ruler = document.createElement("canvas").getContext("2d");
  const family = getComputedStyle(document.body).fontFamily;
  const widths = new Map();
  function measure(text, bold) {
    const key = text + bold;
    if (!widths.has(key)) {
      ruler.font = (bold ? "600 " : "") + "11px " + family;
      if (widths.size > 5000) widths.clear();
      widths.set(key, ruler.measureText(text).width);
    }
    return widths.get(key);
  }

  /** A text for the room that there is: whole, cut, or nothing. */
  function fit(text, room, bold) {
    if (measure(text, bold) <= room) return text;
    for (let length = Math.min(text.length - 1, Math.floor(room / 4)); length >= 4; length--) {
      const cut = text.slice(0, length).trimEnd() + "…";
      if (measure(cut, bold) <= room) return cut;
    }
    return "";
  }

  function bars(lane, inner, body, labels, place) {
    const all = lane.series.map((series) => ({ series, found: bins(series) }));
    const most = { true: 0, false: 0 };
    const sums = { true: new Map(), false: new Map() };
    for (const { series, found } of all) {
      for (const [bin, entry] of found) {
        const sum = (sums[series.up].get(bin) || 0) + entry.sum;
        sums[series.up].set(bin, sum);
        most[series.up] = Math.max(most[series.up], sum);
      }
    }
    const both = lane.series.some((series) => series.up) && lane.series.some((series) => !series.up);
    const zero = inner + (both ? BARS / 2 : lane.series.some((series) => series.up) ? BARS - 2 : 2);
    const room = both ? BARS / 2 - 3 : BARS - 6;
    const top = Math.max(most.true, most.false, 1);
    // Square roots: one entry can still be seen beside a thousand.
    const tall = (value) => (Math.sqrt(value) / Math.sqrt(top)) * room;
    const stacked = { true: new Map(), false: new Map() };
    for (const { series, found } of all) {
      let path = "";
      for (const [bin, entry] of found) {
        const below = stacked[series.up].get(bin) || 0;
        stacked[series.up].set(bin, below + entry.sum);
        const a = tall(below), b = Math.max(tall(below + entry.sum), a + 1);
        const px = left() + bin * BIN;
        path += series.up ? "M" + px + " " + (zero - a) + "v" + (a - b) + "h" + (BIN - 0.6) + "v" + (b - a) + "z" : "M" + px + " " + (zero + a) + "v" + (b - a) + "h" + (BIN - 0.6) + "v" + (a - b) + "z";
      }
      body.append(svg("path", { class: "hit f-" + series.class, d: path, "fill-opacity": series.up ? 1 : 0.55 }));
    }
    body.append(svg("line", { class: "rule", x1: left(), x2: right(), y1: zero, y2: zero }));
    const updates = lane.series.some((series) => / VRAM$|memory$/.test(series.name));
    if (!narrow()) {
      const note = (text, y) => labels.append(svg("text", { class: "soft small", x: left() - 8, y, "text-anchor": "end" }, text));
      if (updates) {
        note("↑ VRAM", inner + 34);
        if (both) note("↓ shadow, system", inner + BARS - 10);
      }
      if (most.true || most.false) labels.append(svg("text", { class: "soft beside", x: right() - 2, y: inner + 9, "text-anchor": "end" }, "max " + top));
    }
    place.bars = { all, zero };
  }

  function activity(lane, inner, body, place) {
    const tall = ACTIVITY - 4;
    for (const series of lane.series) {
      const found = bins(series);
      let most = 1;
      for (const entry of found.values()) most = Math.max(most, entry.sum);
      for (const [bin, entry] of found) {
        body.append(svg("rect", { class: "hit f-" + series.class, x: left() + bin * BIN, y: inner + 1, width: BIN, height: tall, "fill-opacity": 0.35 + (0.65 * entry.sum) / most }));
      }
      place.bars = { all: [{ series, found }], zero: inner + tall };
    }
    items(lane, inner, body, svg("g", {}), place);
  }

  function drawOverview(width) {
    const ox = (at) => left() + (at / (data.end || 1)) * (right() - left());
    overview.setAttribute("viewBox", "0 0 " + width + " " + OVERVIEW);
    const parts = [];
    if (!narrow()) parts.push(svg("text", { class: "soft small", x: 10, y: 21 }, "Whole run"));
    for (const lane of data.lanes) {
      if (lane.title !== "Driver" && lane.title !== "Device" && lane.title !== "Steps") continue;
      const y = { Steps: 6, Driver: 13, Device: 20 }[lane.title];
      for (const item of lane.items) {
        if (item.row === 0 && lane.title !== "Steps" || item.row === 0) parts.push(svg("rect", { class: "f-" + item.class, x: ox(item.from), y, width: Math.max(1.5, ox(item.to) - ox(item.from)), height: 6, "fill-opacity": 0.8 }));
        else if (item.class === "bad" || item.class === "loss") parts.push(svg("rect", { class: "f-bad", x: ox(item.from), y: 27, width: 1.5, height: 4 }));
      }
    }
    parts.push(svg("rect", { class: "brush", x: ox(view.from), y: 1.5, width: Math.max(3, ox(view.to) - ox(view.from)), height: OVERVIEW - 3, rx: 2 }));
    overview.replaceChildren(...parts);
  }

  /** What is under the pointer. */
  function under(px, py) {
    const place = geometry.find((place) => py >= place.top && py < place.bottom);
    if (!place || px < left() || px > right()) return null;
    let best = null;
    for (const hit of place.hits) {
      if (px < hit.x1 || px > hit.x2 || py < hit.y1 - 2 || py > hit.y2 + 2) continue;
      if (!best || hit.x2 - hit.x1 < best.x2 - best.x1) best = hit;
    }
    if (best) return { item: best.item, lane: place.lane };
    if (!place.bars) return null;
    const middle = Math.floor((px - left()) / BIN);
    for (const bin of [middle, middle - 1, middle + 1]) {
      const found = place.bars.all.map(({ series, found }) => ({ series, entry: found.get(bin) })).filter(({ entry }) => entry);
      if (found.length) return { bin: found, lane: place.lane };
    }
    return null;
  }

  function describe(found) {
    if (found.item) {
      const { item } = found;
      const lasted = item.to > item.from ? ", " + say(item.to - item.from) : "";
      return { title: item.label, when: clock(item.from) + lasted, text: item.text === item.label ? "" : item.text, log: item.log };
    }
    const lines = found.bin.map(({ series, entry }) => {
      const entries = entry.sum !== entry.count ? entry.sum + " entries in " + entry.count + " updates" : entry.count + " times";
      return series.name + ": " + entries;
    });
    const from = Math.min(...found.bin.map(({ entry }) => entry.from)), to = Math.max(...found.bin.map(({ entry }) => entry.to));
    return { title: found.lane.title, when: clock(from) + (to > from ? " to " + clock(to) : ""), text: lines.join("\n"), log: found.bin[0].entry.log };
  }

  function showTip(found, px, py) {
    if (!found) {
      tip.hidden = true;
      return;
    }
    const { title, when, text } = describe(found);
    tip.replaceChildren(html("b", {}, title), html("span", { className: "when" }, when), text ? "\n" + text : "");
    tip.hidden = false;
    const wide = tip.offsetWidth, room = plot.clientWidth;
    tip.style.left = Math.max(4, Math.min(px + 14, room - wide - 6)) + "px";
    const above = py + 18 + tip.offsetHeight > plot.clientHeight;
    tip.style.top = Math.max(4, above ? py - tip.offsetHeight - 12 : py + 18) + "px";
  }

  /** Where a pointer is in the drawing. */
  function position(event) {
    const box = chart.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  }

  let frame = 0;
  function later() {
    if (!frame) frame = requestAnimationFrame(() => { frame = 0; draw(); });
  }

  let drag = null;
  chart.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    drag = { start: position(event).x, from: view.from, to: view.to, moved: false };
  });
  chart.addEventListener("pointermove", (event) => {
    pointer = position(event);
    if (drag && event.buttons) {
      const by = pointer.x - drag.start;
      if (!drag.moved && Math.abs(by) > 4) {
        drag.moved = true;
        chart.setPointerCapture(event.pointerId);
        chart.classList.add("drag");
      }
      if (drag.moved) {
        const shift = (by / (right() - left())) * (drag.to - drag.from);
        const at = Math.max(0, Math.min(drag.from - shift, data.end - (drag.to - drag.from)));
        tip.hidden = true;
        view.set(at, at + drag.to - drag.from);
        return;
      }
    }
    showTip(under(pointer.x, pointer.y), pointer.x, pointer.y);
    later();
  });
  chart.addEventListener("pointerup", (event) => {
    const clicked = drag && !drag.moved;
    drag = null;
    chart.classList.remove("drag");
    if (!clicked) return;
    const found = under(position(event).x, position(event).y);
    if (found) {
      current = found.item ? flat.findIndex((entry) => entry.item === found.item) : -1;
      view.choose(describe(found).log, false);
    }
  });
  chart.addEventListener("pointercancel", () => { drag = null; chart.classList.remove("drag"); });
  chart.addEventListener("pointerleave", () => { pointer = null; tip.hidden = true; later(); });
  chart.addEventListener("dblclick", (event) => {
    const at = position(event);
    const found = under(at.x, at.y);
    if (found && found.item && found.item.to > found.item.from) {
      const margin = (found.item.to - found.item.from) * 0.08;
      view.set(found.item.from - margin, found.item.to + margin);
    } else view.zoom(0.4, time(at.x));
  });
  chart.addEventListener("wheel", (event) => {
    const sideways = Math.abs(event.deltaX) > Math.abs(event.deltaY) || event.shiftKey;
    if (!event.ctrlKey && !event.metaKey && !sideways) return; // the page scrolls
    event.preventDefault();
    if (sideways && !event.ctrlKey && !event.metaKey) view.pan((event.deltaX || event.deltaY) / 1000);
    else view.zoom(Math.exp(event.deltaY / 300), time(position(event).x));
  }, { passive: false });
  chart.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const act = {
      ArrowLeft: () => view.pan(event.shiftKey ? -0.5 : -0.1),
      ArrowRight: () => view.pan(event.shiftKey ? 0.5 : 0.1),
      "+": () => view.zoom(0.6),
      "=": () => view.zoom(0.6),
      "-": () => view.zoom(1 / 0.6),
      Home: () => show(data.views[data.views.length - 1]),
      n: () => step(1),
      p: () => step(-1),
      Enter: () => { if (current >= 0) view.choose(flat[current].item.log, true); },
      Escape: () => { current = -1; tip.hidden = true; view.tell(); },
    }[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });

  /** Goes to the next or previous item, from the current one or from the edge of what is shown. */
  function step(by) {
    if (!flat.length) return;
    if (current >= 0) current = Math.max(0, Math.min(flat.length - 1, current + by));
    else {
      current = flat.findIndex((entry) => entry.item.from >= view.from);
      if (current < 0) current = flat.length - 1;
    }
    const { item, lane } = flat[current];
    const width = view.to - view.from;
    if (item.from < view.from || item.from > view.to) view.set(item.from - width / 2, item.from + width / 2);
    else view.tell();
    draw();
    const hit = geometry[lane].hits.find((hit) => hit.item === item);
    const found = { item, lane: data.lanes[lane] };
    if (hit) showTip(found, hit.x1, hit.y2);
    const said = describe(found);
    spoken.textContent = data.lanes[lane].title + ": " + said.title + ", " + said.when;
  }

  let brushing = false;
  function brush(event) {
    const box = overview.getBoundingClientRect();
    const at = ((event.clientX - box.left - left()) / (right() - left())) * data.end;
    const width = view.to - view.from;
    view.set(at - width / 2, at + width / 2);
  }
  overview.addEventListener("pointerdown", (event) => { brushing = true; overview.setPointerCapture(event.pointerId); brush(event); });
  overview.addEventListener("pointermove", (event) => { if (brushing) brush(event); });
  overview.addEventListener("pointerup", () => { brushing = false; });

  view.listeners.push(later);
  new ResizeObserver(later).observe(root);
  addEventListener("beforeprint", draw);
  show(data.views[0]);
  draw();
})();
