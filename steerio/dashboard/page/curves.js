"use strict";
// The charts of a snapshot: which of its series each shows, in which colours, and said in words.

(() => {
  const { element, figure, seconds, short, plural } = steerio;
  const host = (id) => document.getElementById(id);
  const MOST_POOLS = 8; // of more pools the rest is one curve
  const MARKS = {
    moved: ["#6a7fa0", true], lost: ["#c9473f", false], node_joined: ["#3c9a6b", true],
    node_lost: ["#c9473f", false], node_draining: ["#d98032", true], pool_failed: ["#c9473f", false],
    pool_stalled: ["#d98032", false], pool_paused: ["#b1559a", false],
    pool_resumed: ["#3c9a6b", false], loop_stalled: ["#a3683a", true], returned: ["#8452a8", false], missed: ["#8f8a33", true],
  };
  const SAID = {
    lost: "lost", node_joined: "node joined", node_lost: "node lost", node_draining: "node drains",
    pool_failed: "pool failed", pool_stalled: "tasks wait in vain", pool_paused: "paused",
    pool_resumed: "resumed", loop_stalled: "event loop held by", returned: "broker again",
    missed: "events missed",
  };

  function axisOf(snapshot) {
    const { axis, header } = snapshot;
    const unit = steerio.unitOf(header.until - header.began);
    const x = Array.from({ length: axis.count }, (_, at) =>
      Number(((axis.began - header.began + at * axis.width_s) / unit[0]).toPrecision(7)));
    return { x, unit: unit[1], place: (at) => (at - header.began) / unit[0] };
  }

  // Nodes that leave as a run ends are no losses.
  function ending({ header, axis }, at) {
    return !header.live && at > header.until - 2 * axis.width_s;
  }

  function marks(snapshot, place, pool) {
    return snapshot.marks
      .filter((mark) => !(mark.kind === "node_lost" && ending(snapshot, mark.at)))
      .filter((mark) => !pool || !mark.pool || mark.pool === pool || mark.source === pool)
      .map((mark) => {
        const [colour, dashed] = MARKS[mark.kind] || MARKS.missed;
        const text = mark.kind === "moved"
          ? `${plural(mark.count, "worker")} moved from ${mark.source} to ${mark.pool}`
          : `${mark.count > 1 ? `${mark.count} × ` : ""}${SAID[mark.kind] || mark.kind}` +
            `${mark.pool ? ` (${mark.pool})` : ""}${mark.text ? `: ${mark.text}` : ""}`;
        return { x: place(mark.at), colour, dashed, text };
      });
  }

  // The first pools, and the others as one: [name, sum of a field's series].
  function byPool(snapshot, field, join) {
    const first = snapshot.pools.slice(0, MOST_POOLS).map((pool) => [pool.name, pool[field]]);
    const others = snapshot.pools.slice(MOST_POOLS).map((pool) => pool[field]);
    if (others.length)
      first.push(["other pools", others[0].map((_, at) => others.map((each) => each[at]).reduce(join))]);
    return first;
  }

  const sum = (a, b) => a + b;

  function workers(snapshot, axis) {
    const choice = host("pool-choice");
    const names = snapshot.pools.map((pool) => pool.name);
    steerio.fill(choice, names, () => {
      const kept = choice.value;
      const options = [element("option", { value: "" }, "all pools"),
        ...names.map((name) => element("option", { value: name, selected: name === kept }, name))];
      return options;
    });
    const one = snapshot.pools.find((pool) => pool.name === choice.value);
    const series = one ? [
      { name: "busy", values: one.busy_bins, colour: steerio.colourOf(names, one.name) },
      { name: "idle", values: one.idle_bins, colour: steerio.colourOf(names, one.name), faint: true },
      { name: "starting", values: one.starting_bins, colour: steerio.IDLE.starting },
      { name: "lent", values: one.lent_bins, colour: "#8452a8", line: true, dashed: true },
    ] : both(snapshot, names);
    steerio.chart(host("workers-chart"), {
      x: axis.x, unit: axis.unit, y: "workers", stacked: true, steps: true, series,
      marks: marks(snapshot, axis.place, one ? one.name : ""),
      say: `Workers over time. ${snapshot.pools.slice(0, 12).map((pool) =>
        `${pool.name}: ${pool.busy} of ${pool.workers} busy`).join("; ")}`,
    });
    const moved = snapshot.marks.filter((mark) => mark.kind === "moved").reduce((n, m) => n + m.count, 0);
    const lost = snapshot.pools.reduce((n, pool) => n + pool.lost, 0);
    host("workers-say").textContent = one
      ? "Busy, idle and starting workers are stacked; the dashed line counts those that are lent."
      : `Busy workers in strong colours, idle ones in faint ones. Moved: ${moved}; lost: ${lost}.`;
  }

  function both(snapshot, names) {
    const busy = byPool(snapshot, "busy_bins", sum), idle = byPool(snapshot, "idle_bins", sum);
    return busy.flatMap(([name, values], at) => {
      const colour = steerio.colourOf(names, name);
      return [{ name: `${name} busy`, values, colour },
        { name: `${name} idle`, values: idle[at][1], colour, faint: true }];
    });
  }

  // Two campaigns of one broker may have boards of one name.
  function boardNames(boards) {
    const known = boards.map((board) => board.name);
    return boards.map((board) => (known.filter((name) => name === board.name).length > 1
      ? `${board.name} of ${board.campaign}` : board.name));
  }

  function boards(snapshot, axis, field) {
    const first = snapshot.boards.slice(0, MOST_POOLS), names = boardNames(snapshot.boards);
    steerio.chart(host("queue-chart"), {
      x: axis.x, unit: axis.unit, y: field === "age_bins" ? "seconds" : "entries", steps: true,
      series: first.map((board, at) => ({ name: names[at], values: board[field],
        colour: steerio.colourOf(names, names[at]), line: true })),
      say: `Boards over time. ${first.map((board, at) =>
        `${names[at]}: ${board.waiting} waiting, ${board.out} out`).join("; ")}`,
    });
  }

  function queues(snapshot, axis) {
    const [field, ofBoards] = host("queue-choice").value.split(" ").reverse();
    if (ofBoards) {
      boards(snapshot, axis, field);
      return;
    }
    const names = snapshot.pools.map((pool) => pool.name);
    const of = field === "queued_bins" ? ["tasks", sum] : ["seconds", Math.max];
    steerio.chart(host("queue-chart"), {
      x: axis.x, unit: axis.unit, y: of[0], steps: true,
      series: byPool(snapshot, field, of[1]).map(([name, values]) =>
        ({ name, values, colour: steerio.colourOf(names, name), line: true })),
      say: `Queues over time. ${snapshot.pools.slice(0, 12).map((pool) =>
        `${pool.name}: ${pool.queued} queued`).join("; ")}`,
    });
  }

  // The rate of a bin of which little has passed says nothing.
  function rates(snapshot, whole) {
    const { axis: bins, header } = snapshot;
    const part = (header.until - bins.began) / bins.width_s - (bins.count - 1);
    const axis = part < 0.5 ? { ...whole, x: whole.x.slice(0, -1) } : whole;
    const kinds = ["succeeded", "failed", "cancelled", "timed_out", "lost"]
      .filter((kind) => kind === "succeeded" || snapshot.ends[kind]);
    steerio.chart(host("rate-chart"), {
      x: axis.x, unit: axis.unit, y: "tasks a second", stacked: true, steps: true,
      series: kinds.map((kind) => ({ name: kind.replace("_", " "),
        values: snapshot.ends[`${kind}_bins`].slice(0, axis.x.length), colour: steerio.ENDS[kind] })),
      say: `Ends a second by kind. ${kinds.map((kind) => `${snapshot.ends[kind]} ${kind}`).join(", ")}`,
    });
  }

  function idle(snapshot, axis) {
    const causes = Object.keys(steerio.IDLE);
    steerio.chart(host("idle-chart"), {
      x: axis.x, unit: axis.unit, y: "idle workers", stacked: true, steps: true,
      series: causes.filter((cause) => snapshot.idle.bins[cause]).map((cause) => ({
        name: steerio.IDLE_SAID[cause], values: snapshot.idle.bins[cause], colour: steerio.IDLE[cause] })),
      say: `Idle workers by cause. ${causes.map((cause) => `${steerio.IDLE_SAID[cause]}: ` +
        seconds(snapshot.idle.by_cause[cause] || 0)).join("; ")}`,
    });
  }

  const NOTE_AXES = {
    tasks: (note) => [note.tasks, "tasks ended"],
    worker_s: (note) => {
      const unit = steerio.unitOf(note.worker_s[note.worker_s.length - 1] || 0);
      return [note.worker_s.map((value) => value / unit[0]), `${unit[1]} of workers`];
    },
  };

  function notes(snapshot, axis) {
    const box = host("note-charts");
    const against = host("note-choice").value;
    const kept = new Map([...box.children].map((child) => [child.dataset.note, child]));
    for (const note of snapshot.notes) {
      let part = kept.get(note.name);
      if (!part) {
        part = element("div", { "data-note": note.name }, element("h3", {}, note.name),
          element("p", { class: "dim" }), element("div", { class: "chart" }));
        box.append(part);
      }
      kept.delete(note.name);
      const [, said, drawn] = part.children;
      said.textContent = `last ${figure(note.last)}, least ${figure(note.least)}, most ` +
        `${figure(note.most)}; noted ${plural(note.count, "time")}`;
      const [x, unit] = NOTE_AXES[against] ? NOTE_AXES[against](note)
        : [note.at.map(axis.place), axis.unit];
      const merged = note.low.some((value, at) => value !== note.high[at]);
      steerio.chart(drawn, {
        x: Array.from(x), unit, y: note.name, steps: true, fromZero: false,
        series: [{ name: note.name, values: note.value, colour: steerio.COLOURS[0], line: true },
          ...(merged ? [
            { name: "least", values: note.low, colour: steerio.COLOURS[8], line: true, dashed: true },
            { name: "most", values: note.high, colour: steerio.COLOURS[8], line: true, dashed: true },
          ] : [])],
        say: `${note.name}: ${said.textContent}`,
      });
    }
    for (const gone of kept.values()) {
      steerio.forget(gone.children[2]);
      gone.remove();
    }
  }

  function versions(snapshot, axis) {
    const names = snapshot.versions.map((version) => version.name);
    steerio.chart(host("version-chart"), {
      x: axis.x, unit: axis.unit, y: "versions behind", steps: true,
      series: snapshot.versions.slice(0, MOST_POOLS).map((version) => ({ name: version.name,
        values: version.lag_bins, colour: steerio.colourOf(names, version.name), line: true })),
      marks: snapshot.versions.slice(0, MOST_POOLS).flatMap((version) => version.published.map(
        ([number, at]) => ({ x: axis.place(at), colour: steerio.colourOf(names, version.name),
          dashed: true, text: `${version.name}, version ${number}` }))).slice(0, 200),
      say: `Lag of versions. ${snapshot.versions.map((version) =>
        `${version.name}: newest is ${version.newest}`).join("; ")}`,
    });
  }

  function curves(snapshot) {
    const axis = axisOf(snapshot);
    workers(snapshot, axis);
    queues(snapshot, axis);
    rates(snapshot, axis);
    idle(snapshot, axis);
    if (snapshot.notes.length) notes(snapshot, axis);
    if (snapshot.versions.length) versions(snapshot, axis);
  }

  Object.assign(steerio, { curves, boardNames });
})();
