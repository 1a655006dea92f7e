"use strict";
// The parts of the page that are figures and tables.

(() => {
  const { element, count, figure, seconds, bytes, share, plural, short, fill } = steerio;
  const host = (id) => document.getElementById(id);

  // Shows a table: columns are [title, isNumber], rows arrays of texts or elements.
  function table(id, key, columns, rows) {
    fill(host(id), key, () => [
      element("thead", {}, element("tr", {}, columns.map(([title, number]) =>
        element("th", { scope: "col", class: number ? "number" : "" }, title)))),
      element("tbody", {}, rows().map((row) => element("tr", {}, row.map((cell, at) =>
        element("td", { class: columns[at][1] ? "number" : "" }, cell))))),
    ]);
  }

  function box(title, value, small, kind) {
    return element("div", {}, element("dt", {}, title),
      element("dd", { class: kind || "" }, value),
      small ? element("dd", { class: "small" }, small) : null);
  }

  function figures(snapshot) {
    const { header, ends } = snapshot;
    const bad = ends.failed + ends.timed_out + ends.lost;
    const busy = snapshot.idle.busy_s / (snapshot.idle.busy_s + snapshot.idle.total_s || 1);
    const boxes = [
      ["Tasks ended", count(header.tasks), header.live
        ? `${figure(ends.rate)} a second now` : `${figure(ends.mean_rate)} a second`],
      ["Under way", count(header.open_tasks), `${plural(header.queued, "task")} queued`],
      ["Did not end well", count(bad), ends.retried ? `${plural(ends.retried, "attempt")} made again`
        : ends.cancelled ? `${count(ends.cancelled)} cancelled` : "", bad ? "bad" : "good"],
      ["Workers busy", header.live ? `${header.busy} of ${header.workers}` : share(busy),
        header.live ? `${share(busy)} of all time` : "of all time of workers"],
      ["Time", seconds(header.until - header.began), header.left_s !== null
        ? `about ${seconds(header.left_s)} left` : `${seconds(header.worker_s)} inside tasks`],
    ];
    const limits = header.limits.filter((limit) => limit.bound > 0);
    fill(host("figures"), [boxes, limits], () => [
      ...boxes.map((each) => box(...each)),
      ...limits.map((limit) => element("div", {}, element("dt", {}, `Limit: ${limit.name}`),
        element("dd", {}, `${figure(limit.used)} of ${figure(limit.bound)}`),
        element("dd", {}, element("meter", { min: 0, max: limit.bound, value: limit.used },
          share(limit.used / limit.bound))))),
    ]);
  }

  function poolTable(snapshot) {
    const { pools, more_pools: more } = snapshot;
    const names = pools.map((pool) => pool.name);
    const columns = snapshot.header.live ? POOL_NOW : POOL_AFTERWARDS;
    const cells = pools.map((pool) => columns.map(([, , of]) => of(pool)));
    table("pool-table", [names, cells, more], [["Pool"], ...columns], () => [
      ...pools.map((pool, row) => [
        element("span", {}, steerio.swatch(steerio.colourOf(names, pool.name)), pool.name),
        ...cells[row].map((cell, at) => (columns[at][3] && cell !== "0" && cell
          ? element("span", { class: "bad" }, cell) : cell))]),
      ...(more ? [[`and ${plural(more, "more pool")}`, ...columns.map(() => "")]] : [])]);
  }

  // Each: the title, whether it is a number, its text for a pool, and whether it is bad news.
  const most = (...series) => Math.max(0, ...series[0].map((_, at) =>
    series.reduce((sum, values) => sum + values[at], 0)));
  const BOTH = [
    ["Lost", 1, (pool) => count(pool.lost), true],
    ["Busy share", 1, (pool) => share(pool.busy_share)],
    ["", 0, (pool) => pool.failed || (pool.paused && `paused ${pool.paused}`) || pool.stalled, true],
  ];
  const POOL_NOW = [
    ["Workers", 1, (pool) => count(pool.workers)], ["Busy", 1, (pool) => count(pool.busy)],
    ["Idle", 1, (pool) => count(pool.idle)], ["Starting", 1, (pool) => count(pool.starting)],
    ["Lent", 1, (pool) => count(pool.lent)], ["Borrowed", 1, (pool) => count(pool.borrowed)],
    ["Queued", 1, (pool) => count(pool.queued)],
    ["Oldest", 1, (pool) => (pool.queued ? seconds(pool.oldest_s) : "–")], ...BOTH,
  ];
  const POOL_AFTERWARDS = [
    ["Workers, most", 1, (pool) => figure(Math.round(most(pool.busy_bins, pool.idle_bins)))],
    ["Busy, most", 1, (pool) => figure(Math.round(most(pool.busy_bins)))],
    ["Lent, most", 1, (pool) => figure(Math.round(most(pool.lent_bins)))],
    ["Queued, most", 1, (pool) => figure(Math.round(most(pool.queued_bins)))],
    ["Longest wait", 1, (pool) => seconds(most(pool.age_bins))], ...BOTH,
  ];

  function boardTable({ boards, more_boards: more, header }) {
    const cells = boards.map((board) => [count(board.waiting), count(board.out), count(board.ended),
      header.live ? (board.waiting ? seconds(board.oldest_s) : "–") : seconds(most(board.age_bins))]);
    const names = steerio.boardNames(boards);
    table("board-table", [names, cells, more, header.live], [["Board"], ["Pool"], ["Waiting", 1],
      ["Out", 1], ["Ended", 1], [header.live ? "Oldest" : "Oldest, most", 1]],
    () => [
      ...boards.map((board, row) => [
        element("span", {}, steerio.swatch(steerio.colourOf(names, names[row])), names[row]),
        board.pool, ...cells[row]]),
      ...(more ? [[`and ${plural(more, "more board")}`, "", "", "", "", ""]] : [])]);
  }

  function histogram(spread) {
    const space = "http://www.w3.org/2000/svg";
    const root = document.createElementNS(space, "svg");
    root.setAttribute("class", "histogram");
    root.setAttribute("viewBox", `0 0 ${Math.max(1, spread.counts.length)} 20`);
    root.setAttribute("preserveAspectRatio", "none");
    root.setAttribute("aria-hidden", "true");
    const most = Math.max(...spread.counts, 1);
    spread.counts.forEach((number, at) => {
      const bar = document.createElementNS(space, "rect");
      const tall = number ? Math.max(1, (20 * number) / most) : 0;
      for (const [name, value] of [["x", at], ["y", 20 - tall], ["width", 0.9], ["height", tall]])
        bar.setAttribute(name, value);
      root.append(bar);
    });
    return root;
  }

  const STEPS = [
    ["reaction", "Reaction", "from the result that it is because of to its queue"],
    ["decision", "Submission", "from the submission to the broker"],
    ["queueing", "In the queue", "until a worker was free"],
    ["dispatch", "Dispatch", "to the worker, arguments decoded"],
    ["run", "Run", "inside the function"],
    ["report", "Report", "the value on its way back"],
  ];
  const SIZES = [["args_bytes", "Arguments"], ["value_bytes", "Value"]];

  function times(snapshot) {
    const all = [...STEPS, ...SIZES].map(([field]) => snapshot[field]);
    const row = (spread, say) => [
      spread.count ? histogram(spread) : "", ...(spread.count
        ? [spread.p10, spread.p50, spread.p90, spread.p99, spread.most, spread.mean].map(say)
        : Array(6).fill("–")), count(spread.count)];
    table("time-table", all, [["Step"], [""], ["10 %", 1], ["Median", 1], ["90 %", 1], ["99 %", 1],
      ["Most", 1], ["Mean", 1], ["Tasks", 1]],
    () => [
      ...STEPS.map(([field, name, said]) => [
        element("span", {}, name, element("br"), element("span", { class: "dim said" }, said)),
        ...row(snapshot[field], seconds)]),
      ...SIZES.map(([field, name]) => [name, ...row(snapshot[field], bytes)])]);
  }

  function bar(parts, total) {
    const made = element("span", { class: "share", "aria-hidden": "true" });
    for (const [colour, value] of parts) {
      const part = element("span");
      part.style.width = `${(100 * value) / (total || 1)}%`;
      part.style.background = colour;
      made.append(part);
    }
    return made;
  }

  function idle(snapshot) {
    const causes = Object.keys(steerio.IDLE);
    const { by_cause: all, by_pool: pools, total_s: total, busy_s: busy } = snapshot.idle;
    host("idle-say").textContent = `Workers were idle for ${seconds(total)} in all, ` +
      `${share(total / (total + busy || 1))} of their time: the causes add up to that.`;
    const rows = [["all pools", all], ...Object.entries(pools)];
    table("idle-table", rows.map(([name, by]) => [name, causes.map((cause) => seconds(by[cause] || 0))]),
      [["Pool"], [""], ...causes.map((cause) => [steerio.IDLE_SAID[cause], 1])],
      () => rows.map(([name, by]) => {
        const sum = causes.reduce((held, cause) => held + (by[cause] || 0), 0);
        return [name, bar(causes.map((cause) => [steerio.IDLE[cause], by[cause] || 0]), sum),
          ...causes.map((cause) => seconds(by[cause] || 0))];
      }));
  }

  function types(snapshot) {
    const kinds = ["succeeded", "failed", "cancelled", "timed_out", "lost"];
    table("type-table", snapshot.types.map((each) => [each.task_type, kinds.map((kind) => each[kind]),
      each.retried, each.open, figure(each.run_s), each.run.p50, each.wait.p50]),
    [["Task type"], ["Pool"], [""], ...kinds.map((kind) => [kind.replace("_", " "), 1]),
      ["retried", 1], ["under way", 1], ["run, median", 1], ["run, in all", 1], ["wait, median", 1],
      ["value, median", 1]],
    () => snapshot.types.map((each) => [
      element("span", { title: each.task_type }, short(each.task_type)), each.pool,
      bar(kinds.map((kind) => [steerio.ENDS[kind], each[kind]]),
        kinds.reduce((sum, kind) => sum + each[kind], 0)),
      ...kinds.map((kind) => element("span", { class: each[kind] && kind !== "succeeded"
        && kind !== "cancelled" ? "bad" : "" }, count(each[kind]))),
      count(each.retried), count(each.open), seconds(each.run.p50), seconds(each.run_s),
      seconds(each.wait.p50), bytes(each.value_bytes.p50)]));
    table("cause-table", snapshot.causes.map((each) => [each.cause, each.ended, each.failed,
      figure(each.run_s), each.reaction.p50]),
    [["Agent"], ["Of task types"], ["ended", 1], ["not well", 1], ["inside tasks", 1],
      ["reaction, median", 1]],
    () => snapshot.causes.map((each) => [each.cause || "(session)",
      each.task_types.map(short).join(", "), count(each.ended),
      element("span", { class: each.failed ? "bad" : "" }, count(each.failed)),
      seconds(each.run_s), each.reaction.count ? seconds(each.reaction.p50) : "–"]));
  }

  function rest(snapshot) {
    table("version-table", snapshot.versions.map((each) => [each.name, each.newest, each.uses, each.lag,
      each.age_s.p50]),
    [["Name"], ["Newest", 1], ["Size", 1], ["Uses", 1], ["Lag, median", 1], ["Lag, most", 1],
      ["Age when used, median", 1]],
    () => snapshot.versions.map((each) => [each.name, count(each.newest), bytes(each.nbytes),
      count(each.uses), each.uses ? figure(each.lag.p50) : "–", each.uses ? figure(each.lag.most) : "–",
      each.uses ? seconds(each.age_s.p50) : "–"]));
    table("stall-table", snapshot.stalls,
      [["Agent"], ["Times", 1], ["In all", 1], ["Longest", 1], ["Which was at"]],
      () => snapshot.stalls.map((each) => [each.agent, count(each.count), seconds(each.total_s),
        seconds(each.longest_s), each.where]));
    const { header } = snapshot;
    const facts = [...(header.joined ? [["joined", header.joined]] : []),
      ...Object.entries(header.facts), ["began", steerio.moment(header.began)],
      ["last heard of", steerio.moment(header.until)], ["incarnations", count(header.incarnation)],
      ["events read", count(header.events)],
      ...(header.unread ? [["lines that could not be read", count(header.unread)]] : [])];
    table("fact-table", header.live ? facts.filter(([name]) => name !== "last heard of") : facts,
      [["Fact"], ["Value"]], () => facts.map(([name, value]) => [name, value]));
  }

  Object.assign(steerio, { table, figures, poolTable, boardTable, times, idleTable: idle, types, rest });
})();
