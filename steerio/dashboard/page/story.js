"use strict";
// Failures, and the story of one task: the results before it, its agent, its attempts, and what followed.

(() => {
  const { element, count, seconds, bytes, moment, short, plural, fill } = steerio;
  const host = (id) => document.getElementById(id);
  const opened = new Map(); // the failures on the page, by task
  const way = []; // the tasks whose stories were shown before this one

  function facts(pairs) {
    return element("dl", { class: "facts" }, pairs
      .filter(([, value]) => value !== "" && value !== null && value !== undefined)
      .map(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]));
  }

  function tags(given) {
    return Object.entries(given || {}).map(([name, value]) => `${name}=${value}`).join(", ");
  }

  function taskButton(number, text) {
    return element("button", { type: "button", class: "link", onclick: () => showTask(number) }, text);
  }

  // ---- failures ------------------------------------------------------------------------------

  function failures(snapshot) {
    const groups = snapshot.failure_groups;
    const all = groups.reduce((sum, group) => sum + group.count, 0);
    host("failures-say").textContent = all === 0 ? "None so far." :
      `${plural(all, "task")} in ${plural(groups.length, "kind")}; the last ` +
      `${snapshot.failures.length === 1 ? "one" : snapshot.failures.length} below, newest first.`;
    if (groups.length)
      steerio.table("group-table", groups, [["Kind"], ["Task type"], ["Error"], ["Times", 1], ["Last"], [""]],
        () => groups.map((group) => [group.ended_as.replace("_", " "), short(group.task_type),
          group.error, count(group.count), moment(group.last_at),
          taskButton(group.last_task, `task ${group.last_task}`)]));
    else host("group-table").replaceChildren();
    const list = host("failure-list");
    const now = new Set(snapshot.failures.map((failure) => failure.task_id));
    for (const [number, shown] of opened) {
      if (now.has(number) || shown.open) continue; // one that is being read stays
      shown.remove();
      opened.delete(number);
    }
    let after = null;
    for (const failure of snapshot.failures) {
      let shown = opened.get(failure.task_id);
      if (!shown) {
        shown = failureOf(failure);
        opened.set(failure.task_id, shown);
        if (after) after.after(shown);
        else list.prepend(shown);
      }
      after = shown;
    }
  }

  function failureOf(failure) {
    const body = element("div", {});
    const made = element("details", { class: "failure", "data-task": failure.task_id },
      element("summary", {}, element("strong", {}, `Task ${failure.task_id}`), " ",
        element("span", { class: "bad" }, failure.ended_as.replace("_", " ")), " · ",
        short(failure.task_type), " · ", failure.error || "no reason",
        element("span", { class: "dim" }, moment(failure.at))),
      body);
    made.addEventListener("toggle", () => {
      if (!made.open || body.childNodes.length) return;
      body.append(...failureBody(failure));
      fillLog(body, failure);
    });
    return made;
  }

  function failureBody(failure) {
    return [
      facts([
        ["error", failure.error_type], ["message", failure.message || failure.error],
        ["task type", failure.task_type], ["pool", failure.pool], ["arguments", failure.args],
        ["worker", failure.worker && `${failure.worker} on ${failure.node}`],
        ["submitted by", failure.cause], ["tags", tags(failure.tags)],
        ["attempts", count(failure.attempts)], ["ran", seconds(failure.run_s)],
        ["ended", moment(failure.at)]]),
      failure.traceback ? element("pre", { tabindex: 0 }, failure.traceback) : null,
      element("div", { class: "log" }),
      element("button", { type: "button", onclick: () => showTask(failure.task_id) },
        "What led here, and what followed"),
    ].filter(Boolean);
  }

  // The lines that its worker printed are read when they are asked for.
  async function fillLog(body, failure) {
    const place = body.querySelector(".log");
    try {
      const story = await steerio.source.task(failure.task_id);
      const lines = story && story.failure ? story.failure.log : [];
      if (lines.length)
        place.append(element("h3", {}, "Printed by the task"),
          element("pre", { tabindex: 0 }, lines.join("\n")));
    } catch (error) {
      place.append(element("p", { class: "dim" }, `Its lines in the log cannot be shown: ${error.message}`));
    }
  }

  // ---- one task ------------------------------------------------------------------------------

  async function showTask(number, back) {
    const dialog = host("story"), body = host("story-body");
    if (!back && dialog.open && dialog.dataset.task) way.push(Number(dialog.dataset.task));
    if (!dialog.open) way.length = 0;
    dialog.dataset.task = number;
    host("story-title").textContent = `Task ${number}`;
    host("story-back").hidden = way.length === 0;
    body.replaceChildren(element("p", { class: "dim" }, "Looking…"));
    if (!dialog.open) dialog.showModal();
    let shown;
    try {
      const story = await steerio.source.task(number);
      shown = story && story.state !== "unknown" ? storyOf(story) : [element("p", {},
        steerio.source.whole ? `The record has no task ${number}.`
          : `This report does not have the story of task ${number}: steerio dashboard shows it.`)];
    } catch (error) {
      shown = [element("p", { class: "bad" }, `It cannot be shown: ${error.message}`)];
    }
    if (dialog.dataset.task === String(number)) body.replaceChildren(...shown);
  }

  function brief(task) {
    return element("li", {}, taskButton(task.task_id, `task ${task.task_id}`),
      ` ${short(task.task_type)} ${task.args} `,
      element("span", { class: task.ended_as === "succeeded" ? "good" : "bad" },
        task.ended_as.replace("_", " ") || "under way"),
      task.value ? ` → ${task.value}` : "");
  }

  function storyOf(story) {
    const chain = element("ol", { class: "chain" });
    if (story.before.length)
      chain.append(element("li", {}, element("strong", {}, "Because of"),
        element("ul", {}, story.before.map(brief))));
    chain.append(element("li", {}, element("strong", {}, "Submitted by "), story.cause || "a session",
      story.reaction_s !== null && story.reaction_s !== undefined
        ? element("span", { class: "dim" }, ` · ${seconds(story.reaction_s)} after the last of them`) : "",
      element("div", { class: "dim" }, moment(story.created ?? story.queued))));
    chain.append(element("li", { class: "here" }, element("strong", {},
      `${short(story.task_type)} ${story.args}`), facts([
      ["state", story.state], ["ended", story.ended_as.replace("_", " ")], ["value", story.value],
      ["task type", story.task_type], ["pool", story.pool], ["tags", tags(story.tags)],
      ["priority", story.priority ? String(story.priority) : ""]])));
    for (const attempt of story.attempts) chain.append(attemptOf(attempt, story));
    if (story.failure) {
      const { failure } = story;
      chain.append(element("li", {}, element("strong", { class: "bad" }, failure.error),
        failure.traceback ? element("pre", { tabindex: 0 }, failure.traceback) : null,
        failure.log.length ? element("pre", { tabindex: 0 }, failure.log.join("\n")) : null));
    }
    chain.append(element("li", {}, element("strong", {}, "What followed"),
      story.after.length ? element("ul", {}, story.after.map(brief)) : element("div", { class: "dim" },
        "No task that was submitted because of this one."),
      story.more_after ? element("div", { class: "dim" }, `and ${plural(story.more_after, "more task")}`) : null));
    const shown = [chain];
    if (story.events.length)
      shown.push(element("details", {}, element("summary", {}, plural(story.events.length, "event")),
        element("pre", { tabindex: 0 }, story.events.join("\n"))));
    return shown;
  }

  function attemptOf(attempt, story) {
    const versions = Object.entries(attempt.versions || {}).map(([name, n]) => `${name} ${n}`).join(", ");
    const between = (from, to) => (from === null || to === null ? "" : seconds(to - from));
    return element("li", {}, element("strong", {}, `Attempt ${attempt.attempt}`),
      attempt.ended_as ? ` · ${attempt.ended_as.replace("_", " ")}` : "", facts([
        ["worker", attempt.worker && `${attempt.worker} on ${attempt.node}`],
        ["in the queue", attempt.attempt === 1 ? between(story.queued, attempt.sent) : ""],
        ["to the worker", between(attempt.sent, attempt.started)],
        ["ran", between(attempt.started, attempt.ended)],
        ["back", between(attempt.ended, attempt.received)], ["versions", versions]]));
  }

  function beginStories() {
    const dialog = host("story");
    host("story-close").addEventListener("click", () => dialog.close());
    host("story-back").addEventListener("click", () => showTask(way.pop(), true));
    dialog.addEventListener("close", () => {
      way.length = 0;
      delete dialog.dataset.task;
    });
    host("find").addEventListener("submit", (event) => {
      event.preventDefault();
      const number = Number(host("task-number").value);
      if (Number.isSafeInteger(number)) showTask(number);
    });
  }

  Object.assign(steerio, { failures, showTask, beginStories });
})();
