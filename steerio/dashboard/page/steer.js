"use strict";
// The part of a live page that steers: parameters, questions, agents, pools, and the campaign itself.
//
// It asks the campaign nothing until it is opened, and then once a second. What it shows is kept in
// rows that stay, so that a value which is being typed stays too.

(() => {
  const { element, fill, plural } = steerio;
  const host = (id) => document.getElementById(id);
  const ASK_MS = 1000;
  let look = null, asking = false, live = false, mayOrder = false;

  // ---- asking and ordering -------------------------------------------------------------------

  async function api(path, body) {
    const asked = { credentials: "same-origin" };
    if (body) {
      asked.method = "POST";
      asked.headers = { "content-type": "application/json" };
      asked.body = JSON.stringify(body);
    }
    const answer = await fetch(`api/${path}`, asked);
    const text = await answer.text();
    let told = {};
    try {
      told = JSON.parse(text);
    } catch { /* a proxy in between has answered */ }
    if (!answer.ok) throw new Error(told.error || text || `the server said ${answer.status}`);
    return told;
  }

  // Gives an order; what came of it stands below the reason. Its button waits meanwhile.
  async function order(button, type, fields, basedOn) {
    const body = { order: { type, ...fields }, reason: host("steer-reason").value };
    if (basedOn !== undefined) body.based_on = basedOn;
    button.disabled = true;
    say("…", "");
    try {
      const answer = await api("orders", body);
      say(answer.words, answer.done ? "good" : "warn");
      host("steer-reason").value = "";
      return true;
    } catch (error) {
      say(error.message, "bad");
      return false;
    } finally {
      button.disabled = false;
      refresh();
    }
  }

  function say(text, kind) {
    host("steer-said").textContent = text;
    host("steer-said").className = kind;
  }

  async function refresh() {
    if (asking || !live || !mayOrder || !host("steer-part").open || document.hidden) return;
    asking = true;
    try {
      look = await api("look");
      host("steer-link").textContent = look.campaign.stopping
        ? `It ends: ${look.campaign.stopping}` : "";
      show();
    } catch (error) {
      host("steer-link").textContent = `Nothing is known of the campaign now: ${error.message}`;
    } finally {
      asking = false;
    }
  }

  // ---- rows ----------------------------------------------------------------------------------

  const button = (text, onclick) => element("button", { type: "button", onclick }, text);

  // A button whose order depends on the last look.
  const ordering = (text, of) => {
    const made = button(text, () => order(made, ...of()));
    return made;
  };

  // Shows a table whose rows are made once for each key, and brought up to date by `update`.
  const tables = new Map(); // names of pools and parameters may be those of Object's own
  function rows(id, titles, keys, make, update) {
    if (!tables.has(id)) tables.set(id, new Map());
    const kept = tables.get(id);
    for (const key of kept.keys()) if (!keys.includes(key)) kept.delete(key);
    for (const key of keys) if (!kept.has(key)) kept.set(key, make(key));
    fill(host(id), [titles, keys], () => [
      element("thead", {}, element("tr", {}, titles.map((title) =>
        element("th", { scope: "col" }, title)))),
      element("tbody", {}, keys.map((key) => kept.get(key).row)),
    ]);
    for (const key of keys) update(kept.get(key), key);
    host(id).hidden = !keys.length;
  }

  function text(node, words) {
    if (node.textContent !== words) node.textContent = words;
  }

  function rowOf(first, ...cells) {
    const row = element("tr", {}, element("th", { scope: "row" }, first),
      cells.map((cell) => element("td", {}, cell)));
    return row;
  }

  function parameterRow(name) {
    const { kind, allowed, help } = look.campaign.parameters[name];
    const value = element("span", {}), label = `New value of ${name}`;
    const input = kind === "bool"
      ? element("select", { "aria-label": label }, ["True", "False"].map((each) =>
        element("option", { value: each }, each)))
      : element("input", { "aria-label": label, autocomplete: "off", spellcheck: "false" });
    if (kind === "bool") input.value = shown(look.campaign.parameters[name].value);
    let known; // the last event when the value was begun to be changed
    const begin = () => { known = known ?? look.campaign.at_event; };
    input.addEventListener("input", begin);
    const set = button("Set", async () => {
      if (await order(set, "SetParameter", { name, value: input.value }, known) && kind !== "bool")
        input.value = "";
      known = undefined;
    });
    input.addEventListener("keydown", (event) => event.key === "Enter" && set.click());
    const about = element("span", { class: "dim" }, [allowed, help].filter(Boolean).join(". "));
    return { value, row: rowOf(name, value, about, [input, " ", set]) };
  }

  const shown = (value) => (typeof value === "boolean" ? (value ? "True" : "False") : String(value));

  function parameters() {
    const all = look.campaign.parameters;
    rows("steer-parameters", ["Parameter", "Value", "Limits", ""], Object.keys(all), parameterRow,
      (row, name) => text(row.value, shown(all[name].value)));
  }

  function questionRow(number) {
    const { text: asked, options, by } = look.campaign.questions.find((each) =>
      String(each.number) === number);
    const left = element("span", { class: "dim" });
    const answers = options.map((choice) => ordering(choice, () =>
      ["Answer", { choice, question: Number(number) }]));
    return { left, row: rowOf(number, asked, [`${by} `, left], element("div", { class: "tools" }, answers)) };
  }

  function questions() {
    const all = Object.fromEntries(look.campaign.questions.map((each) => [each.number, each]));
    rows("steer-questions", ["Question", "", "By", "Answer"], Object.keys(all), questionRow,
      (row, number) => {
        const { left_s: left, default: taken } = all[number];
        text(row.left, left === null || left === undefined ? ""
          : `(${taken} in ${steerio.seconds(Math.max(0, left))})`);
      });
    host("steer-no-question").hidden = look.campaign.questions.length > 0;
  }

  function agentRow(agent) {
    const work = element("span", {}), trigger = element("span", { class: "dim" });
    const pause = ordering("Pause", () => [look.campaign.agents[agent].paused
      ? "ResumeAgent" : "PauseAgent", { agent }]);
    return { work, trigger, pause, row: rowOf(agent, trigger, work, pause) };
  }

  function agents() {
    const all = look.campaign.agents;
    rows("steer-agents", ["Agent", "Trigger", "Calls", ""], Object.keys(all), agentRow,
      (row, name) => {
        const { trigger, queued, under_way: busy, paused } = all[name];
        text(row.trigger, trigger);
        text(row.work, `${paused ? "paused, " : ""}${queued} queued, ${busy} under way`);
        text(row.pause, paused ? "Resume" : "Pause");
        row.pause.hidden = trigger === "@agent"; // it is called once
      });
  }

  function poolRow(pool) {
    const work = element("span", {}), paused = element("span", { class: "warn" });
    const pause = ordering("Pause", () => [look.pools[pool].paused
      ? "ResumePools" : "PausePools", { pools: [pool] }]);
    return { work, paused, pause, row: rowOf(pool, work, paused, pause) };
  }

  function pools() {
    const names = Object.keys(look.pools);
    rows("steer-pools", ["Pool", "Now", "", ""], names, poolRow, (row, name) => {
      const { workers, busy, queued, paused } = look.pools[name];
      text(row.work, `${busy} of ${plural(workers, "worker")} busy, ${queued} queued`);
      text(row.paused, paused ? `paused ${paused}` : "");
      text(row.pause, paused ? "Resume" : "Pause");
    });
    host("steer-move").hidden = names.length < 2;
    for (const [at, id] of ["steer-from", "steer-to"].entries()) {
      fill(host(id), names, () => names.map((name) => element("option", { value: name }, name)));
      if (!host(id).steerioBegan && names.length > at) {
        host(id).steerioBegan = true;
        host(id).value = names[at];
      }
    }
  }

  function show() {
    text(host("steer-campaign"), look.campaign.campaign);
    parameters();
    questions();
    agents();
    pools();
  }

  // ---- beginning -----------------------------------------------------------------------------

  function beginCampaign() {
    const checkpoint = host("steer-checkpoint"), stop = host("steer-stop");
    checkpoint.addEventListener("click", () => order(checkpoint, "Checkpoint", {}));
    const sure = (shown) => {
      host("steer-sure").hidden = !shown;
      stop.hidden = shown;
    };
    stop.addEventListener("click", () => {
      sure(true);
      host("steer-keep").focus();
    });
    host("steer-keep").addEventListener("click", () => sure(false));
    for (const [id, cancel] of [["steer-end", false], ["steer-cancel", true]])
      host(id).addEventListener("click", async () => {
        await order(host(id), "StopCampaign", { cancel });
        sure(false);
      });
    const move = host("steer-do-move");
    host("steer-move").addEventListener("submit", (event) => {
      event.preventDefault();
      order(move, "MoveWorkers", {
        source: host("steer-from").value, target: host("steer-to").value,
        workers: Number(host("steer-count").value),
      });
    });
  }

  // Shows the part, if the page may order anything; a report and a run that has ended have none.
  async function beginSteering() {
    let giver;
    try {
      giver = await api("giver");
    } catch {
      return; // the link says by itself that the server is gone
    }
    mayOrder = giver.role !== "look";
    text(host("steer-role"), !mayOrder ? "You may only look: this dashboard was started with --role look."
      : giver.role === "propose" ? `Orders are in the name of ${giver.name}, and each is put as a question first.`
        : `Orders are in the name of ${giver.name}.`);
    host("steer-part").hidden = !mayOrder;
    beginCampaign();
    host("steer-part").addEventListener("toggle", refresh);
    document.addEventListener("visibilitychange", refresh);
    setInterval(refresh, ASK_MS);
    steerio.steer = steering;
    if (steerio.shown) steering(steerio.shown);
  }

  function steering(snapshot) {
    live = snapshot.header.live;
    host("steer").hidden = !live;
    host("steer-jump").hidden = !live;
    const { questions: asked } = snapshot.header;
    text(host("steer-asked"), asked ? `${plural(asked, "question")} wait${asked > 1 ? "" : "s"} for an answer` : "");
  }

  Object.assign(steerio, { beginSteering, steer: () => {} });
})();
