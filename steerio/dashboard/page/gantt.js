"use strict";
// The Gantt: shares of time by worker or node as the snapshot has them, and, closer, each attempt.

(() => {
  const NO_TYPE = 255, AXIS = 20, HEIGHT = 460, REFRESH_MS = 2000;
  const MOST_SPANS = 20000; // asked for at a time; of more the shares are shown, magnified
  const EACH_BELOW = 3000; // tasks of a run that is shown attempt by attempt from the beginning
  const state = { snapshot: null, view: null, spans: null, asked: -Infinity, number: 0, asking: false,
    drag: null };
  let canvas, say, queued = false;

  function begin() {
    canvas = document.getElementById("gantt-canvas");
    say = document.getElementById("gantt-say");
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || place(event).time === null) return;
      state.drag = { from: event.offsetX, to: event.offsetX };
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", moved);
    canvas.addEventListener("pointerup", released);
    canvas.addEventListener("pointerleave", () => tell(null));
    canvas.addEventListener("keydown", pressed);
    for (const button of document.querySelectorAll("#gantt-tools button"))
      button.addEventListener("click", () => act(button.dataset.do));
    new ResizeObserver(() => redraw()).observe(canvas.parentElement);
  }

  function gantt(snapshot) {
    state.snapshot = snapshot;
    // an answer may take longer than that: the view waits for the one that it has asked for
    if (wantsSpans() && !state.asking && performance.now() - state.asked > REFRESH_MS) fetchSpans();
    redraw();
  }

  function wantsSpans() {
    const { header } = state.snapshot;
    return state.view !== null || header.tasks + header.open_tasks <= EACH_BELOW;
  }

  function bounds() {
    const { header } = state.snapshot;
    return { begin: header.began, end: Math.max(header.until, header.began + 1e-3) };
  }

  function shown() {
    return state.view || bounds();
  }

  async function fetchSpans() {
    const { begin: from, end: to } = shown();
    state.asked = performance.now();
    const number = (state.number += 1);
    state.asking = true;
    try {
      const found = await steerio.source.spans(from, to, MOST_SPANS);
      if (number === state.number) state.spans = found && inOrder(found);
    } catch (error) {
      if (number === state.number) state.spans = null;
      console.warn("the attempts of this window did not come:", error);
    }
    if (number === state.number) state.asking = false;
    redraw();
  }

  // Rows by name, so that a worker stands beside the one whose place it took.
  function inOrder(found) {
    const order = found.rows.map((name, row) => [name, row]).sort((a, b) =>
      a[0].localeCompare(b[0], "en", { numeric: true }));
    const place = new Array(order.length);
    order.forEach(([, row], at) => (place[row] = at));
    const spans = found.spans.map((span) => span.with(1, place[span[1]]));
    return { ...found, rows: order.map(([name]) => name), spans };
  }

  // ---- moving about --------------------------------------------------------------------------

  function act(what) {
    if (!state.snapshot) return;
    const { begin: from, end: to } = shown();
    const span = to - from, middle = (from + to) / 2;
    if (what === "in") look(middle - span / 4, middle + span / 4);
    else if (what === "out") look(middle - span, middle + span);
    else if (what === "left") look(from - span / 3, to - span / 3);
    else if (what === "right") look(from + span / 3, to + span / 3);
    else look(-Infinity, Infinity);
  }

  function look(from, to) {
    const all = bounds();
    const span = Math.max(1e-4, Math.min(to - from, all.end - all.begin));
    const first = Math.max(all.begin, Math.min(from, all.end - span));
    const whole = !(span < (all.end - all.begin) * 0.995);
    state.view = whole ? null : { begin: first, end: first + span };
    state.spans = null;
    state.asking = false;
    state.number += 1; // whatever was asked for is of another view
    if (wantsSpans()) fetchSpans();
    redraw();
  }

  function pressed(event) {
    const keys = { ArrowLeft: "left", ArrowRight: "right", "+": "in", "=": "in", "-": "out",
      Escape: "all", "0": "all" };
    if (!keys[event.key] || event.ctrlKey || event.metaKey) return;
    act(keys[event.key]);
    event.preventDefault();
  }

  function place(event) {
    const drawn = state.drawn;
    if (!drawn || event.offsetX < drawn.left) return { time: null, row: -1 };
    const { begin: from, end: to } = shown();
    const share = (event.offsetX - drawn.left) / (drawn.width - drawn.left);
    const row = Math.floor((event.offsetY - 2) / drawn.tall);
    return { time: from + share * (to - from), row: row < drawn.names.length ? row : -1 };
  }

  function moved(event) {
    if (state.drag) {
      state.drag.to = event.offsetX;
      redraw();
    }
    tell(place(event));
  }

  function released(event) {
    const drag = state.drag;
    state.drag = null;
    if (!drag) return;
    if (Math.abs(drag.to - drag.from) > 5) {
      const [from, to] = [drag.from, drag.to].sort((a, b) => a - b)
        .map((x) => place({ offsetX: Math.max(x, state.drawn.left), offsetY: 0 }).time);
      look(from, to);
    } else {
      const span = spanAt(place(event));
      if (span) steerio.showTask(span[0]);
      redraw();
    }
  }

  function spanAt({ time, row }) {
    if (!state.drawn || !state.drawn.each || row < 0) return null;
    return state.spans.spans.find((span) => span[1] === row && span[3] <= time && time <= span[4]);
  }

  // ---- words ---------------------------------------------------------------------------------

  function tell(at) {
    if (!state.drawn) return;
    say.textContent = at && at.row >= 0 && at.time !== null ? underneath(at) : overall();
    canvas.style.cursor = at && spanAt(at) ? "pointer" : "crosshair";
  }

  function underneath(at) {
    const { drawn } = state;
    const when = `${steerio.seconds(at.time - bounds().begin)} · ${drawn.names[at.row]}`;
    if (drawn.each) {
      const span = spanAt(at);
      if (!span) return `${when} · no task`;
      const type = steerio.short(state.spans.types[span[2]]);
      return `${when} · task ${span[0]} · ${type} · ${span[5].replace("_", " ")} · ` +
        steerio.seconds(span[4] - span[3]);
    }
    const { axis, types, rows } = state.snapshot.gantt;
    const bin = Math.min(axis.count - 1, Math.max(0, Math.floor((at.time - axis.began) / axis.width_s)));
    const row = decoded(rows[at.row]);
    const type = row.types[bin] === NO_TYPE ? "no task" : steerio.short(types[row.types[bin]] || "");
    return `${when} · ${steerio.share(row.busy[bin] / 255)} busy · ${type}`;
  }

  function overall() {
    const { drawn } = state;
    const { begin: from, end: to } = shown();
    const began = bounds().begin;
    const by = drawn.each ? "worker" : { worker: "worker", node: "node", nodes: "row of nodes" }[
      state.snapshot.gantt.by];
    const dense = state.view && !drawn.each && state.spans
      ? " There are too many attempts here to show each." : "";
    return `${steerio.plural(drawn.names.length, by)}, ${steerio.seconds(from - began)} to ` +
      `${steerio.seconds(to - began)}.${dense} Drag to look closer, or use the keys + − ← →;` +
      ` a click on a task shows its causes.`;
  }

  // ---- drawing -------------------------------------------------------------------------------

  function redraw() {
    if (queued || !state.snapshot) return;
    queued = true;
    requestAnimationFrame(() => {
      queued = false;
      draw();
    });
  }

  function draw() {
    const { snapshot, spans } = state;
    const each = spans !== null && spans.left_out === 0 && wantsSpans();
    if (!each && !snapshot.gantt) return;
    const names = each ? spans.rows : snapshot.gantt.rows.map((row) => row.name);
    const width = canvas.clientWidth;
    if (!width) return;
    const tall = Math.min(18, Math.max(HEIGHT / Math.max(1, names.length), 0.05));
    const left = tall >= 10 && width > 560 ? Math.min(150, width / 5) : 0;
    const height = Math.ceil(tall * names.length) + AXIS + 4;
    const ratio = Math.min(window.devicePixelRatio || 1, 2);
    canvas.style.height = `${height}px`;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    const pen = canvas.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.font = "11px system-ui, sans-serif";
    state.drawn = { each, names, width, left, tall };
    pen.fillStyle = steerio.styleOf("--shade");
    pen.fillRect(left, 2, width - left, tall * names.length);
    if (each) drawSpans(pen);
    else drawShares(pen);
    drawNames(pen);
    drawAxis(pen, height);
    if (state.drag) {
      pen.fillStyle = "rgba(60,110,200,0.25)";
      pen.fillRect(Math.min(state.drag.from, state.drag.to), 2,
        Math.abs(state.drag.to - state.drag.from), height - AXIS);
    }
    legend(each ? spans.types : snapshot.gantt.types);
    if (!canvas.matches(":hover")) say.textContent = overall();
  }

  function drawSpans(pen) {
    const { left, width, tall } = state.drawn;
    const { begin: from, end: to } = shown();
    const scale = (width - left) / (to - from);
    const gap = tall >= 6 ? 1 : 0;
    for (const [, row, type, started, ended, endedAs] of state.spans.spans) {
      const x = Math.max(left, left + (started - from) * scale);
      const wide = Math.max(0.6, left + (ended - from) * scale - x - (gap ? 0.4 : 0));
      if (x > width || x + wide < left) continue;
      pen.fillStyle = steerio.COLOURS[type % steerio.COLOURS.length];
      pen.fillRect(x, 2 + row * tall, wide, tall - gap);
      if (endedAs !== "succeeded" && endedAs !== "running" && endedAs !== "") {
        pen.fillStyle = steerio.ENDS[endedAs] || steerio.ENDS.failed;
        pen.fillRect(x, 2 + row * tall, Math.max(wide, 2), Math.max(1, tall * 0.4));
      }
    }
  }

  const rowsDecoded = new WeakMap();
  function decoded(row) {
    let found = rowsDecoded.get(row);
    if (!found) {
      const read = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
      found = { busy: read(row.busy), failed: read(row.failed), types: read(row.types) };
      rowsDecoded.set(row, found);
    }
    return found;
  }

  // One pixel for each bin of each row, then stretched: ten thousand workers cost no more than ten.
  function drawShares(pen) {
    const { axis, rows } = state.snapshot.gantt;
    if (!rows.length || !axis.count) return;
    const picture = new ImageData(axis.count, rows.length);
    const inks = steerio.COLOURS.map((colour) => [1, 3, 5].map((at) =>
      parseInt(colour.slice(at, at + 2), 16)));
    const bad = [1, 3, 5].map((at) => parseInt(steerio.ENDS.failed.slice(at, at + 2), 16));
    rows.forEach((row, y) => {
      const { busy, failed, types } = decoded(row);
      for (let x = 0; x < axis.count; x += 1) {
        if (!busy[x]) continue;
        const ink = inks[types[x] === NO_TYPE ? inks.length - 1 : types[x] % inks.length];
        const amiss = (failed[x] || 0) / 255;
        const at = 4 * (y * axis.count + x);
        for (let part = 0; part < 3; part += 1)
          picture.data[at + part] = ink[part] + (bad[part] - ink[part]) * amiss;
        picture.data[at + 3] = Math.max(40, busy[x]);
      }
    });
    const small = document.createElement("canvas");
    small.width = axis.count;
    small.height = rows.length;
    small.getContext("2d").putImageData(picture, 0, 0);
    const { left, width, tall } = state.drawn;
    const { begin: from, end: to } = shown();
    const scale = (width - left) / (to - from);
    pen.save();
    pen.beginPath();
    pen.rect(left, 2, width - left, tall * rows.length);
    pen.clip();
    pen.imageSmoothingEnabled = false;
    pen.drawImage(small, left + (axis.began - from) * scale, 2, axis.count * axis.width_s * scale,
      tall * rows.length);
    pen.restore();
  }

  function drawNames(pen) {
    const { left, tall, names } = state.drawn;
    if (!left) return;
    pen.fillStyle = steerio.styleOf("--dim");
    pen.textAlign = "left";
    pen.textBaseline = "middle";
    names.forEach((name, row) => {
      let text = name;
      while (text.length > 4 && pen.measureText(text).width > left - 8)
        text = `${text.slice(0, -2)}…`.replace(/……$/, "…");
      pen.fillText(text, 0, 2 + (row + 0.5) * tall);
    });
  }

  function drawAxis(pen, height) {
    const { left, width } = state.drawn;
    const { begin: from, end: to } = shown();
    const began = bounds().begin;
    pen.fillStyle = steerio.styleOf("--dim");
    pen.textBaseline = "bottom";
    const unit = steerio.unitOf(to - from)[0];
    const wanted = Math.max(2, Math.min(8, Math.floor((width - left) / 110)));
    for (const tick of steerio.ticks((from - began) / unit, (to - began) / unit, wanted)) {
      const x = left + ((width - left) * (tick * unit + began - from)) / (to - from);
      pen.textAlign = x < left + 20 ? "left" : x > width - 40 ? "right" : "center";
      pen.fillText(steerio.seconds(tick * unit), x, height - 2);
    }
  }

  function legend(types) {
    const host = document.getElementById("gantt-legend");
    const seen = types.slice(0, 12);
    const { ends } = state.snapshot;
    const amiss = ends.failed + ends.timed_out + ends.lost + ends.cancelled > 0;
    steerio.fill(host, [seen, amiss], () => [
      ...seen.map((type, at) => steerio.element("span", { title: type },
        steerio.swatch(steerio.COLOURS[at % steerio.COLOURS.length]), steerio.short(type))),
      ...(amiss ? [steerio.element("span", {}, steerio.swatch(steerio.ENDS.failed),
        "did not end well")] : []),
    ]);
  }

  Object.assign(steerio, { gantt, beginGantt: begin, redrawGantt: redraw });
})();
