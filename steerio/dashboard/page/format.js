"use strict";
// Numbers in words, elements without markup, and the colours that parts of the page share.
// Whatever a user has named reaches the page as text alone, by `element`.
const steerio = (window.steerio = window.steerio || {});

(() => {
  const COLOURS = [
    "#3b73bd", "#d98032", "#3c9a6b", "#b1559a", "#7b68c8", "#8f8a33", "#3fa0b3", "#c2554d",
    "#6f8296", "#a8743f",
  ];
  const ENDS = {
    succeeded: "#3c9a6b", failed: "#c9473f", cancelled: "#97a1ad", timed_out: "#d98032",
    lost: "#8452a8", retried: "#b9972f",
  };
  const IDLE = {
    no_work: "#a9b3bf", policy_busy: "#d98032", in_transit: "#3b73bd", dispatch: "#3fa0b3",
    paused: "#b1559a", moving: "#7b68c8", starting: "#c3b37a",
  };
  const IDLE_SAID = {
    no_work: "no work", policy_busy: "policy busy", in_transit: "in transit",
    dispatch: "dispatch", paused: "paused", moving: "moving", starting: "starting",
  };
  const UNITS = [
    [86400, "d", 4 * 86400], [3600, "h", 3 * 3600], [60, "min", 180], [1, "s", 0],
  ];

  // An element with attributes and children; children that are no elements become text.
  function element(tag, attributes, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) {
      if (name === "class") made.className = value;
      else if (name === "onclick") made.addEventListener("click", value);
      else if (value === true) made.setAttribute(name, "");
      else if (value !== false && value !== null && value !== undefined)
        made.setAttribute(name, String(value));
    }
    for (const child of children.flat(Infinity)) {
      if (child === null || child === undefined || child === false) continue;
      made.append(child instanceof Node ? child : document.createTextNode(String(child)));
    }
    return made;
  }

  function count(number) {
    if (!Number.isFinite(number)) return "–";
    if (Number.isInteger(number)) return number.toLocaleString("en");
    return figure(number);
  }

  function figure(number) {
    if (!Number.isFinite(number)) return "–";
    const size = Math.abs(number);
    if (size === 0) return "0";
    if (size >= 1e7 || size < 1e-4) return number.toExponential(2);
    if (size >= 100) return Math.round(number).toLocaleString("en");
    return String(Number(number.toPrecision(3)));
  }

  function seconds(value) {
    if (value === null || value === undefined || !Number.isFinite(value)) return "–";
    const size = Math.abs(value);
    if (size === 0) return "0 s";
    if (size < 0.9995e-3) return `${figure(value * 1e6)} µs`;
    if (size < 0.9995) return `${figure(value * 1e3)} ms`;
    if (size < 59.95) return `${figure(value)} s`;
    const whole = Math.round(size);
    const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
    if (whole < 3600) return `${parts[1]}:${String(parts[2]).padStart(2, "0")} min`;
    if (whole < 86400 * 2) return `${parts[0]}:${String(parts[1]).padStart(2, "0")} h`;
    return `${figure(whole / 86400)} d`;
  }

  function bytes(value) {
    const units = ["B", "kB", "MB", "GB", "TB", "PB"];
    let at = 0;
    while (value >= 1000 && at < units.length - 1) {
      value /= 1000;
      at += 1;
    }
    return `${figure(value)} ${units[at]}`;
  }

  function share(value) {
    return `${(100 * value).toFixed(value > 0 && value < 0.1 ? 1 : 0)} %`;
  }

  function moment(at) {
    if (at === null || at === undefined) return "–";
    return new Date(at * 1000).toLocaleString("sv");
  }

  function plural(number, word) {
    return `${count(number)} ${word}${number === 1 ? "" : "s"}`;
  }

  // `module:function` by its function, which is the part that tells types apart.
  function short(taskType) {
    const at = taskType.lastIndexOf(":");
    return at < 0 ? taskType : taskType.slice(at + 1);
  }

  function unitOf(span) {
    return UNITS.find((unit) => span >= unit[2]);
  }

  function colourOf(names, name) {
    const at = names.indexOf(name);
    return COLOURS[(at < 0 ? COLOURS.length - 1 : at) % COLOURS.length];
  }

  function styleOf(variable) {
    return getComputedStyle(document.documentElement).getPropertyValue(variable).trim();
  }

  function swatch(colour) {
    const made = element("span", { class: "swatch", "aria-hidden": "true" });
    made.style.background = colour;
    return made;
  }

  // Replaces the children of an element, if what they show has changed.
  function fill(host, key, make) {
    const text = JSON.stringify(key);
    if (host.steerioShown === text) return;
    host.steerioShown = text;
    host.replaceChildren(...[make()].flat());
  }

  Object.assign(steerio, {
    COLOURS, ENDS, IDLE, IDLE_SAID, element, count, figure, seconds, bytes, share, moment,
    plural, short, unitOf, colourOf, styleOf, swatch, fill,
  });
})();
