"use strict";
// Charts of our own as SVG: the page's first, and its only ones if plotly is not installed.

(() => {
  const SPACE = "http://www.w3.org/2000/svg";
  const LEFT = 46, RIGHT = 10, TOP = 10, BOTTOM = 34;

  function shape(tag, attributes) {
    const made = document.createElementNS(SPACE, tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    return made;
  }

  function words(x, y, text, anchor) {
    const made = shape("text", { x, y, "text-anchor": anchor });
    made.textContent = text;
    return made;
  }

  // Round numbers from `low` to `high`, about `wanted` of them.
  function ticks(low, high, wanted) {
    const raw = (high - low) / wanted || 1;
    const power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].find((each) => each * power >= raw) * power;
    const found = [];
    for (let at = Math.ceil(low / step) * step; at <= high + step * 1e-6; at += step)
      found.push(Math.abs(at) < step * 1e-9 ? 0 : at);
    return found;
  }

  // The lower and upper edge of each series: stacked ones stand on those before them.
  function edges(spec) {
    const floor = spec.x.map(() => 0);
    return spec.series.map((series) => {
      const alone = series.line || !spec.stacked;
      const low = alone ? series.values.map(() => 0) : floor.slice();
      const high = series.values.map((value, at) => low[at] + value);
      if (!alone) high.forEach((value, at) => (floor[at] = value));
      return { low, high, alone };
    });
  }

  function path(points, steps) {
    let text = "";
    points.forEach(([x, y], at) => {
      if (at === 0) text = `M${x.toFixed(1)} ${y.toFixed(1)}`;
      else if (steps) text += `H${x.toFixed(1)}V${y.toFixed(1)}`;
      else text += `L${x.toFixed(1)} ${y.toFixed(1)}`;
    });
    return text;
  }

  function scales(spec, drawn, width, height) {
    const values = drawn.flatMap((each) => each.high).filter(Number.isFinite);
    const most = Math.max(...values, spec.fromZero === false ? -Infinity : 0);
    const least = spec.fromZero === false ? Math.min(...values) : 0;
    const pad = spec.fromZero === false ? (most - least) * 0.05 || 1 : 0;
    const [low, high] = [least - pad, most > least ? most + pad + (most - least) * 0.04 : least + 1];
    const [first, last] = [spec.x[0], spec.x[spec.x.length - 1]];
    return {
      low, high, first, last,
      x: (value) => LEFT + ((value - first) / (last - first || 1)) * (width - LEFT - RIGHT),
      y: (value) => height - BOTTOM - ((value - low) / (high - low)) * (height - TOP - BOTTOM),
    };
  }

  function axes(root, spec, scale, width, height) {
    for (const at of ticks(scale.low, scale.high, 4)) {
      const y = scale.y(at);
      root.append(shape("line", { class: "plain-line", x1: LEFT, x2: width - RIGHT, y1: y, y2: y }));
      root.append(words(LEFT - 6, y + 4, steerio.figure(at), "end"));
    }
    for (const at of ticks(scale.first, scale.last, Math.max(2, Math.min(8, width / 90))))
      root.append(words(scale.x(at), height - BOTTOM + 14, steerio.figure(at), "middle"));
    root.append(words(width - RIGHT, height - 4, spec.unit, "end"));
  }

  function curves(root, spec, drawn, scale) {
    spec.series.forEach((series, at) => {
      const { low, high, alone } = drawn[at];
      const upper = spec.x.map((x, i) => [scale.x(x), scale.y(high[i])]);
      if (!alone) {
        const lower = spec.x.map((x, i) => [scale.x(x), scale.y(low[i])]).reverse();
        const steps = path(upper, spec.steps);
        const back = spec.steps ? path(lower, false).replace(/^M/, "L") : path(lower).replace(/^M/, "L");
        root.append(shape("path", {
          d: `${steps}${spec.steps ? stepsBack(lower) : back}Z`, fill: series.colour,
          "fill-opacity": series.faint ? 0.28 : 0.85,
        }));
      } else {
        root.append(shape("path", {
          d: path(upper, spec.steps), fill: "none", stroke: series.colour, "stroke-width": 1.6,
          "stroke-dasharray": series.dashed ? "5 3" : "none",
        }));
      }
    });
    for (const mark of spec.marks || []) {
      const x = scale.x(mark.x);
      const line = shape("line", {
        x1: x, x2: x, y1: TOP, y2: scale.y(scale.low), stroke: mark.colour, "stroke-width": 1.2,
        "stroke-dasharray": mark.dashed ? "3 3" : "none",
      });
      const told = shape("title", {});
      told.textContent = mark.text;
      line.append(told);
      root.append(line, shape("circle", { cx: x, cy: TOP, r: 3, fill: mark.colour }));
    }
  }

  // The lower edge from right to left: a step there goes down before it goes left.
  function stepsBack(points) {
    return points.map(([x, y], at) =>
      at === 0 ? `V${y.toFixed(1)}` : `V${y.toFixed(1)}H${x.toFixed(1)}`).join("");
  }

  function legend(spec) {
    return steerio.element("div", { class: "legend" }, spec.series.map((series) =>
      steerio.element("span", {}, steerio.swatch(series.colour), series.name)));
  }

  function plainChart(host, spec) {
    const names = spec.series.length > 1 ? legend(spec) : null;
    const box = host.getBoundingClientRect();
    const width = Math.max(200, box.width || 600);
    const height = Math.max(120, (box.height || 240) - (names ? 26 : 0));
    const root = shape("svg", { width: "100%", height, viewBox: `0 0 ${width} ${height}`,
      preserveAspectRatio: "none", "aria-hidden": "true" });
    const drawn = edges(spec);
    const scale = scales(spec, drawn, width, height);
    axes(root, spec, scale, width, height);
    curves(root, spec, drawn, scale);
    const readout = steerio.element("div", { class: "readout" });
    root.addEventListener("pointermove", (event) => {
      const inside = root.getBoundingClientRect();
      const share = ((event.clientX - inside.left) / inside.width) * width;
      const at = nearest(spec.x, scale, share);
      readout.textContent = `${steerio.figure(spec.x[at])} ${spec.unit}: ` + spec.series
        .map((series) => `${series.name} ${steerio.figure(series.values[at])}`).join(", ");
    });
    root.addEventListener("pointerleave", () => (readout.textContent = ""));
    host.replaceChildren(root, readout);
    if (names) host.append(names);
  }

  function nearest(xs, scale, place) {
    let best = 0;
    xs.forEach((x, at) => {
      if (Math.abs(scale.x(x) - place) < Math.abs(scale.x(xs[best]) - place)) best = at;
    });
    return best;
  }

  Object.assign(steerio, { plainChart, ticks });
})();
