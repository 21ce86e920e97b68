"use strict";
// Draws the messages of a planning session and sends the reader's commands.

const $ = (id) => document.getElementById(id);
const form = $("settings"), world = $("world"), paper = world.getContext("2d");
const state = { frame: null, goal: null, dragged: null, thought: null, thoughtAt: 0, position: null, steps: [], taken: [], plan: 0 };
let redraw = false;

async function send(command) {
  const reply = await fetch("command", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(command) });
  if (!reply.ok) say(await reply.text(), "error");
}

// An error stays for three seconds: the next step, a tenth of a second later, does not replace it.
let quietUntil = 0;
function say(text, kind = "") {
  if (kind !== "error" && performance.now() < quietUntil) return;
  if (kind === "error") quietUntil = performance.now() + 3000;
  $("status").textContent = text;
  $("status").className = kind;
}

function loadImage(url) {
  return new Promise((resolve) => {
    const image = new Image();
    image.onload = () => resolve(image);
    image.src = url;
  });
}

function figure(url, caption) {
  const made = document.createElement("figure"), image = document.createElement("img"), words = document.createElement("figcaption");
  image.src = url;
  image.alt = caption;
  words.textContent = caption;
  made.append(image, words);
  return made;
}

async function showStep(message) {
  state.frame = await loadImage(message.frame);
  state.position = message.position;
  if (!state.dragged) state.goal = message.goal;
  const now = performance.now();
  state.steps = [...state.steps, now].filter((time) => now - time < 3000);
  $("step").textContent = message.step;
  $("model-steps").textContent = message.model_steps.toLocaleString("en");
  if (state.steps.length > 1) $("speed").textContent = (1000 * (state.steps.length - 1) / (now - state.steps[0])).toFixed(1);
  if (message.distance !== undefined) {
    $("distance").textContent = message.distance.toPrecision(3);
    document.body.dataset.held = message.held;
    if (message.held) say("The goal is reached and held.", "success");
    else if (message.success) say("The goal is reached.", "success");
    else say("The agent is on its way.");
  }
  if (message.thought) showThought(message);
  else if (state.thought) showHappening(message);
  redraw = true;
}

function showThought(message) {
  state.thought = message.thought;
  state.thoughtAt = performance.now();
  state.plan = message.step - 1;
  $("ms").textContent = message.ms.toFixed(0);
  $("imagined").replaceChildren(...message.thought.imagined.map((url, place) => figure(url, `+${(place + 1) * message.thought.block} steps`)));
  if (!message.thought.imagined.length) $("imagined").textContent = "This world model has no decoder.";
  state.taken = [];
  showHappening(message);
  drawCosts(message.thought.best);
}

// A new plan is made every few steps; the strip shows what happened since the last one.
function showHappening(message) {
  state.taken.push([message.frame, message.step]);
  state.taken = state.taken.slice(-6);
  $("happening").replaceChildren(...state.taken.map(([url, step]) => figure(url, `step ${step}`)));
}

function colour(name) { return getComputedStyle(document.documentElement).getPropertyValue(name).trim(); }

function drawCosts(best) {
  const canvas = $("costs"), pen = canvas.getContext("2d"), { width, height } = canvas;
  const [left, right, top, bottom] = [110, width - 20, 20, height - 50];
  const high = Math.max(...best), low = Math.min(...best), span = high - low || 1;
  const x = (place) => left + (right - left) * (best.length > 1 ? place / (best.length - 1) : 0.5);
  const y = (cost) => bottom - (bottom - top) * (cost - low) / span;
  pen.clearRect(0, 0, width, height);
  pen.fillStyle = colour("--soft");
  pen.font = "24px system-ui, sans-serif";
  pen.textAlign = "right";
  pen.fillText(high.toPrecision(2), left - 12, top + 10);
  if (high > low) pen.fillText(low.toPrecision(2), left - 12, bottom + 8);
  pen.textAlign = "center";
  pen.fillText("1", x(0), height - 12);
  if (best.length > 1) pen.fillText(String(best.length), x(best.length - 1), height - 12);
  pen.strokeStyle = pen.fillStyle = colour("--point");
  pen.lineWidth = 4;
  pen.beginPath();
  best.forEach((cost, place) => (place ? pen.lineTo(x(place), y(cost)) : pen.moveTo(x(place), y(cost))));
  pen.stroke();
  best.forEach((cost, place) => { pen.beginPath(); pen.arc(x(place), y(cost), 6, 0, 7); pen.fill(); });
}

function drawPath(start, path) {
  const size = world.width;
  paper.beginPath();
  paper.moveTo(start[0] * size, start[1] * size);
  for (const [x, y] of path) paper.lineTo(x * size, y * size);
  paper.stroke();
}

function drawWorld() {
  requestAnimationFrame(drawWorld);
  const moving = state.thought && performance.now() - state.thoughtAt < 1200;
  if (!state.frame || !(redraw || moving)) return;
  redraw = false;
  const size = world.width;
  paper.imageSmoothingEnabled = true;
  paper.drawImage(state.frame, 0, 0, size, size);
  if (state.thought) {
    // The rounds of the last search pass within 0.45 seconds; then the chosen plan stays.
    const { rounds, path } = state.thought;
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    const place = still ? rounds.length - 1 : Math.min(rounds.length - 1, Math.floor(rounds.length * (performance.now() - state.thoughtAt) / 450));
    const round = rounds[place], start = state.start || state.position;
    paper.lineWidth = 2;
    for (let rank = round.paths.length - 1; rank >= 0; rank--) {
      paper.strokeStyle = `rgba(47, 109, 181, ${0.12 + 0.6 * (1 - rank / Math.max(1, round.paths.length - 1)) ** 2})`;
      drawPath(start, round.paths[rank]);
    }
    paper.lineWidth = 6;
    paper.strokeStyle = "#d9503f";
    if (place === rounds.length - 1) drawPath(start, path);
  }
  const goal = state.dragged || state.goal;
  if (goal) {
    paper.lineWidth = 5;
    paper.strokeStyle = "#1a7f4e";
    paper.beginPath();
    paper.arc(goal[0] * size, goal[1] * size, 20, 0, 7);
    paper.stroke();
  }
}

function place(event) {
  const box = world.getBoundingClientRect();
  return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height].map((x) => Math.min(1, Math.max(0, x)));
}

function moveGoal(goal) {
  state.goal = goal;
  redraw = true;
  send({ goal });
}

world.addEventListener("pointerdown", (event) => {
  world.setPointerCapture(event.pointerId);
  state.dragged = place(event);
  redraw = true;
});
world.addEventListener("pointermove", (event) => {
  if (!state.dragged) return;
  state.dragged = place(event);
  redraw = true;
});
world.addEventListener("pointerup", (event) => {
  if (!state.dragged) return;
  state.dragged = null;
  moveGoal(place(event));
});
world.addEventListener("pointercancel", () => { state.dragged = null; redraw = true; });

const ARROWS = { ArrowLeft: [-0.04, 0], ArrowRight: [0.04, 0], ArrowUp: [0, -0.04], ArrowDown: [0, 0.04] };
addEventListener("keydown", (event) => {
  if (event.target.matches("select, input") || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target === world && ARROWS[event.key] && state.goal) {
    event.preventDefault();
    moveGoal(state.goal.map((x, axis) => Math.min(1, Math.max(0, x + ARROWS[event.key][axis]))));
  } else if (event.key === " " && !event.target.matches("button")) {
    event.preventDefault();
    $("pause").click();
  } else if (event.key === "n") $("single").click();
  else if (event.key === "r") $("restart").click();
});

$("pause").addEventListener("click", () => {
  const paused = $("pause").getAttribute("aria-pressed") !== "true";
  send({ paused });
});
$("single").addEventListener("click", () => send({ single: true }));
$("restart").addEventListener("click", () => send({ restart: true }));
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("change", (event) => {
  const { name, value } = event.target;
  send({ [name]: name === "budget" || name === "rate" ? Number(value) : value });
});

function showSettings(message) {
  for (const [name, values] of Object.entries(message.choices)) {
    const select = form.elements.namedItem(name);
    select.replaceChildren(...values.map((value) => new Option(name === "budget" ? `${value} ×` : value, value)));
  }
  for (const [name, value] of Object.entries(message.settings)) form.elements.namedItem(name).value = value;
  $("pause").setAttribute("aria-pressed", message.paused);
  $("pause").textContent = message.paused ? "Continue" : "Pause";
}

const source = new EventSource("events");
source.addEventListener("message", (event) => {
  const message = JSON.parse(event.data);
  if (message.type === "settings") showSettings(message);
  else if (message.type === "error") say(message.text, "error");
  else {
    if (message.thought) state.start = message.start;
    showStep(message);
  }
});
source.addEventListener("error", () => say("The demonstration has ended. Start `jepabench demo` again.", "error"));
drawWorld();
