"use strict";
// Shows the progress of a sweep.

const $ = (id) => document.getElementById(id);
const STATES = ["done", "running", "failed", "interrupted", "missing"];

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function bar(percent) {
  const made = element("div", { class: "bar" }, element("i"));
  made.firstChild.style.width = `${percent}%`;
  return made;
}

function curve({ name, values }) {
  const low = Math.min(...values), high = Math.max(...values), span = high - low || 1;
  const points = values.map((value, place) => `${(260 * place / Math.max(1, values.length - 1)).toFixed(1)} ${(64 - 58 * (value - low) / span).toFixed(1)}`);
  const made = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  made.setAttribute("class", "curve");
  made.setAttribute("viewBox", "0 0 260 70");
  made.setAttribute("role", "img");
  made.setAttribute("aria-label", `${name} from ${values[0]} to ${values[values.length - 1]}`);
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", `M${points.join("L")}`);
  made.append(path);
  return element("figure", { style: "margin:0" }, made, element("figcaption", { class: "soft" }, `${name}: ${values[values.length - 1]}`));
}

function stage(one) {
  const made = element("div", { class: "panel" }, element("b", {}, one.title));
  if (one.percent !== null && one.percent !== undefined) made.append(bar(one.percent), element("span", { class: "soft" }, `${one.percent} %, ${one.left} left. ${one.detail}`));
  else made.append(element("p", { class: "soft" }, one.detail));
  if (one.curve && one.curve.values.length > 1) made.append(curve(one.curve));
  return made;
}

function failure(one) {
  return element("div", { class: "panel" }, element("b", { class: "failed" }, one.title), element("p", {}, one.detail),
    ...(one.log.length ? [element("details", {}, element("summary", {}, "Last lines of its log"), element("pre", {}, one.log.join("\n")))] : []));
}

// Open logs stay open when the page is drawn again.
function replaceKeepingOpen(box, made) {
  const open = [...box.querySelectorAll("details")].map((details) => details.open);
  box.replaceChildren(...made);
  box.querySelectorAll("details").forEach((details, place) => { details.open = open[place] || false; });
}

function show(message) {
  const count = (name) => message.counts[name] || 0;
  $("output").textContent = message.output;
  $("done").textContent = `${count("done")} of ${message.total}`;
  $("running-count").textContent = count("running");
  $("failed-count").textContent = count("failed");
  $("waiting").textContent = count("missing") + count("interrupted");
  $("left").textContent = message.left;
  const percent = message.total ? Math.floor(100 * count("done") / message.total) : 0;
  $("progress").setAttribute("aria-valuenow", percent);
  $("progress").firstElementChild.style.width = `${percent}%`;
  document.title = `${percent} % · JEPA Bench`;
  $("status").textContent = message.total ? "" : "There are no stages in this folder yet.";
  $("running").replaceChildren(...(message.running.length ? message.running.map(stage) : [element("p", { class: "soft" }, "No stage is running.")]));
  replaceKeepingOpen($("failed"), message.failed.length ? message.failed.map(failure) : [element("p", { class: "soft" }, "No stage has failed.")]);
  $("kinds-head").replaceChildren(element("tr", {}, element("th", { scope: "col" }, "folder"), ...STATES.map((name) => element("th", { scope: "col" }, name))));
  $("kinds").replaceChildren(...Object.entries(message.kinds).map(([kind, counts]) =>
    element("tr", {}, element("td", {}, kind), ...STATES.map((name) => element("td", {}, String(counts[name] || "-"))))));
  $("recent").replaceChildren(...message.recent.map((one) => element("tr", {}, element("td", {}, one.title), element("td", {}, one.seconds))));
}

const source = new EventSource("events");
source.addEventListener("message", (event) => show(JSON.parse(event.data)));
source.addEventListener("error", () => {
  $("status").textContent = "The connection has ended. Start `jepabench watch` again.";
  $("status").className = "error";
});
