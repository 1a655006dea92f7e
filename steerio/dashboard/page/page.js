"use strict";
// The page: where its snapshots come from, and which parts of it show them.
//
// A live page hears of them by server-sent events, and asks for spans and stories. A report has all of
// that in itself, as the texts of two elements.

(() => {
  const host = (id) => document.getElementById(id);
  const SILENCE_MS = 15000; // the server is heard from every few seconds, or it is gone
  const PARTS = ["figures", "poolTable", "boardTable", "curves", "gantt", "failures", "times", "idleTable", "types",
    "rest", "steer"];
  let snapshot = null, shown = null, lastGantt = null, queued = false, heardAt = 0, over = false;

  // ---- where it comes from -------------------------------------------------------------------

  async function ask(path) {
    const answer = await fetch(path, { credentials: "same-origin" });
    if (!answer.ok) throw new Error((await answer.text()) || `the server said ${answer.status}`);
    return answer.json();
  }

  const live = {
    whole: true,
    spans: (from, to, most) => ask(`spans?begin=${from}&end=${to}&most=${most}`),
    task: (number) => ask(`tasks/${number}`),
  };

  function inlined(held) {
    return {
      whole: false,
      async spans(from, to) {
        if (!held.spans) return null;
        const spans = held.spans.spans.filter((span) => span[4] >= from && span[3] <= to);
        return { ...held.spans, spans };
      },
      async task(number) {
        return held.stories[number] || null;
      },
    };
  }

  function listen() {
    const updates = new EventSource("updates");
    updates.addEventListener("gantt", (event) => {
      lastGantt = JSON.parse(event.data); // it comes less often, and before its snapshot
      if (snapshot) show({ ...snapshot, gantt: lastGantt });
    });
    updates.addEventListener("snapshot", (event) => {
      heard();
      show({ ...JSON.parse(event.data), gantt: lastGantt });
    });
    updates.addEventListener("beat", heard);
    updates.addEventListener("trouble", (event) => {
      heard();
      link(JSON.parse(event.data));
    });
    updates.addEventListener("over", () => {
      over = true;
      updates.close();
      link("The dashboard has been ended; this is the last that it showed.");
    });
    updates.addEventListener("error", () => {
      if (over) return;
      link(updates.readyState === EventSource.CLOSED
        ? "The server lets this page in no more: open the newest URL that it printed."
        : "The connection is lost; trying again…");
    });
    setInterval(() => {
      if (!over && heardAt && performance.now() - heardAt > SILENCE_MS)
        link("Nothing has been heard of the server for a while.");
    }, SILENCE_MS / 3);
  }

  function heard() {
    heardAt = performance.now();
    link("");
  }

  function link(text) {
    if (host("link").textContent !== text) host("link").textContent = text;
  }

  // ---- showing -------------------------------------------------------------------------------

  function show(next) {
    snapshot = next;
    if (queued) return;
    queued = true;
    requestAnimationFrame(() => {
      queued = false;
      draw();
    });
  }

  function draw() {
    if (shown !== snapshot) head(snapshot);
    steerio.shown = shown = snapshot;
    for (const part of PARTS) {
      try {
        steerio[part](snapshot);
      } catch (error) {
        console.error(`${part} cannot be shown:`, error); // the others can
      }
    }
    document.documentElement.dataset.number = snapshot.number;
  }

  function head({ header, made_at: at, notes, versions, stalls, boards }) {
    document.title = `${header.run} · ${header.state} · steerio`;
    host("run").textContent = header.run;
    host("campaign").textContent = header.campaign;
    const state = host("state");
    if (state.textContent !== header.state) state.textContent = header.state;
    state.className = `pill ${header.state.split(" ")[0]}`;
    host("because").hidden = !header.because;
    host("because").textContent = header.because;
    host("because").classList.toggle("calm", ["completed", "limited", "ended"].includes(header.state));
    host("made").textContent = `As of ${steerio.moment(at)}, from the record of the run.` +
      (window.Plotly ? "" : " Charts are plain: with the package plotly they can be zoomed and saved.");
    const lacking = { notes: !notes.length, versions: !versions.length, stalls: !stalls.length,
      boards: !boards.length };
    for (const part of document.querySelectorAll("[data-of]")) part.hidden = lacking[part.dataset.of];
  }

  // ---- beginning -----------------------------------------------------------------------------

  const THEMES = { "": "as the system has them", light: "light", dark: "dark" };
  function themes() {
    const root = document.documentElement, button = host("theme");
    let kept = "";
    try {
      kept = localStorage.getItem("steerio-theme") || "";
    } catch { /* a page that may keep nothing begins as the system has it */ }
    const set = (name) => {
      if (name) root.dataset.theme = name;
      else delete root.dataset.theme;
      button.setAttribute("aria-label", `Colours: ${THEMES[name]}`);
      button.title = `Colours: ${THEMES[name]}`;
      try {
        localStorage.setItem("steerio-theme", name);
      } catch { /* then it is asked for again */ }
      steerio.redrawAll();
      steerio.redrawGantt();
    };
    set(kept in THEMES ? kept : "");
    button.addEventListener("click", () => {
      const names = Object.keys(THEMES);
      set(names[(names.indexOf(root.dataset.theme || "") + 1) % names.length]);
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      steerio.redrawAll();
      steerio.redrawGantt();
    });
  }

  function fetchPlotly() {
    const script = document.createElement("script");
    script.src = "plotly.min.js";
    script.addEventListener("load", () => {
      steerio.redrawAll();
      if (snapshot) head(snapshot);
    });
    document.head.append(script);
  }

  function begin() {
    for (const id of ["pool-choice", "queue-choice", "note-choice"])
      host(id).addEventListener("change", () => snapshot && steerio.curves(snapshot));
    steerio.beginGantt();
    steerio.beginStories();
    themes();
    const held = host("held-snapshot");
    if (held) {
      steerio.source = inlined(JSON.parse(host("held-details").textContent));
      show(JSON.parse(held.textContent));
    } else {
      steerio.source = live;
      listen();
      fetchPlotly();
      steerio.beginSteering();
    }
  }

  begin();
})();
