"use strict";
// Charts: by plotly if its script has arrived, else plain. A chart is drawn when it is in sight
// and has changed, one in a frame, so that a page of many charts stays quick.

(() => {
  const EVERY_MS = 1000; // a chart that is drawn more often than that cannot be read
  const PRINTED = 680; // pixels, of which a sheet of paper is some 700 wide within its margins
  const charts = new Map(); // host -> {spec, key, shown, at, inSight}
  let asked = false;
  let printing = false;

  const watch = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      const chart = charts.get(entry.target);
      if (chart) chart.inSight = entry.isIntersecting;
    }
    ask();
  }, { rootMargin: "200px" });

  // Shows a chart: {x, unit, y, stacked, steps, series: [{name, values, colour, faint, line,
  // dashed}], marks: [{x, colour, text, dashed}], fromZero, say}.
  function chart(host, spec) {
    let known = charts.get(host);
    if (!known) {
      known = { at: 0, inSight: false };
      charts.set(host, known);
      watch.observe(host);
      host.setAttribute("role", "img");
    }
    known.spec = spec;
    host.setAttribute("aria-label", spec.say || spec.y);
    const key = JSON.stringify(spec);
    if (known.key !== key) {
      known.key = key;
      known.stale = true;
    }
    ask();
  }

  function forget(host) {
    watch.unobserve(host);
    charts.delete(host);
  }

  function redrawAll() {
    for (const known of charts.values()) {
      known.stale = true;
      known.at = 0;
    }
    ask();
  }

  function ask() {
    if (asked) return;
    asked = true;
    requestAnimationFrame(drawOne);
  }

  function drawOne(now) {
    asked = false;
    let waiting = false;
    for (const [host, known] of charts) {
      if (!known.stale || !(known.inSight || printing)) continue;
      if (known.at && now - known.at < EVERY_MS) {
        waiting = true;
        continue;
      }
      draw(host, known, now);
      ask();
      return;
    }
    if (waiting) setTimeout(ask, EVERY_MS / 4);
  }

  function draw(host, known, now) {
    known.stale = false;
    known.at = now;
    if (known.spec.x.length < 2) {
      host.replaceChildren(steerio.element("p", { class: "dim" }, "Nothing to draw yet."));
      known.byPlotly = false;
    } else if (window.Plotly) {
      if (!known.byPlotly) host.replaceChildren();
      known.byPlotly = true;
      window.Plotly.react(host, traces(known.spec), layout(known.spec, host), CONFIG);
    } else {
      steerio.plainChart(host, known.spec);
    }
  }

  const CONFIG = {
    displaylogo: false, responsive: true,
    modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
    toImageButtonOptions: { format: "png", scale: 2, filename: "steerio" },
  };

  // Plotly reads some of HTML in names; as entities it shows them as they are.
  function plain(text) {
    return String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  }

  function traces(spec) {
    const made = spec.series.map((series) => {
      const stacked = spec.stacked && !series.line;
      return {
        type: "scatter", mode: "lines", name: plain(series.name), x: spec.x, y: series.values,
        stackgroup: stacked ? "all" : undefined,
        fillcolor: stacked ? tint(series.colour, series.faint ? 0.28 : 0.85) : undefined,
        line: { color: series.colour, width: stacked ? 0 : 1.7, shape: spec.steps ? "hv" : "linear",
          dash: series.dashed ? "dash" : "solid" },
        hovertemplate: "%{y:.4~g}",
      };
    });
    if (spec.marks && spec.marks.length) {
      made.push({
        type: "scatter", mode: "markers", x: spec.marks.map((mark) => mark.x), yaxis: "y2",
        y: spec.marks.map(() => 1), showlegend: false, name: "", cliponaxis: false,
        text: spec.marks.map((mark) => plain(mark.text)), hovertemplate: "%{text}<extra></extra>",
        marker: { color: spec.marks.map((mark) => mark.colour), size: 7, symbol: "triangle-down" },
      });
    }
    return made;
  }

  function tint(colour, opacity) {
    const part = (at) => parseInt(colour.slice(at, at + 2), 16);
    return `rgba(${part(1)},${part(3)},${part(5)},${opacity})`;
  }

  function layout(spec, host) {
    const ink = printing ? "#444" : steerio.styleOf("--dim");
    const grid = printing ? "#ddd" : steerio.styleOf("--grid");
    const axis = { gridcolor: grid, zerolinecolor: grid, linecolor: grid, tickfont: { color: ink },
      title: { font: { color: ink, size: 12 } }, automargin: true };
    return {
      autosize: !printing, width: printing ? PRINTED : undefined,
      height: printing ? host.clientHeight : undefined,
      margin: { l: 48, r: 12, t: 10, b: 34 }, paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)", font: { color: ink, size: 12 }, uirevision: spec.unit,
      hovermode: "x unified", hoverlabel: { bgcolor: steerio.styleOf("--card"),
        font: { color: steerio.styleOf("--ink"), size: 12 }, namelength: 40 },
      showlegend: spec.series.length > 1,
      legend: { orientation: "h", y: -0.22, yanchor: "top", x: 0, font: { size: 12 },
        traceorder: "normal" },
      xaxis: { ...axis, showgrid: false, title: { ...axis.title, text: spec.unit, standoff: 4 } },
      yaxis: { ...axis, rangemode: spec.fromZero === false ? "normal" : "tozero",
        title: { ...axis.title, text: plain(spec.y), standoff: 6 } },
      yaxis2: { overlaying: "y", range: [0, 1], visible: false, fixedrange: true },
      shapes: (spec.marks || []).map((mark) => ({ type: "line", x0: mark.x, x1: mark.x, y0: 0, y1: 1,
        yref: "paper", line: { color: mark.colour, width: 1, dash: mark.dashed ? "dot" : "solid" } })),
    };
  }

  window.addEventListener("beforeprint", () => {
    printing = true;
    for (const [host, known] of charts) {
      host.style.width = `${PRINTED}px`; // a page of paper, whatever the window is
      draw(host, known, performance.now());
    }
  });
  window.addEventListener("afterprint", () => {
    printing = false;
    for (const host of charts.keys()) host.style.width = "";
    redrawAll();
  });
  let resized = 0;
  window.addEventListener("resize", () => {
    clearTimeout(resized);
    resized = setTimeout(redrawAll, 150);
  });

  Object.assign(steerio, { chart, forget, redrawAll });
})();
