// Draws the table and the heat map of the board from the data in the page.

function board() {
  const data = JSON.parse(document.getElementById("data").textContent);
  const table = document.getElementById("board"), form = document.getElementById("filters");
  const at = Object.fromEntries(data.numbers.map((name, place) => [name, place]));
  const field = (name) => form.elements.namedItem(name);

  const percent = (x) => (x === null ? "-" : (100 * x).toFixed(0));
  const count = (x) => {
    if (x === null) return "not stated";
    if (!x) return "0";
    for (const [limit, unit] of [[1, ""], [1e3, "k"], [1e6, "M"], [1e9, "G"]])
      if (Number(x.toPrecision(3)) < 1000 * limit) return Number((x / limit).toPrecision(3)) + unit;
    return x.toPrecision(3);
  };
  const duration = (s) => (s === null ? "not stated" : !s ? "0" : s < 99.5 ? `${Number(s.toPrecision(2))} s` : s < 5970 ? `${Number((s / 60).toPrecision(2))} min` : `${Number((s / 3600).toPrecision(3))} h`);
  const milliseconds = (x) => (x === null ? "-" : x < 0.095 ? "<0.1" : x < 9.95 ? x.toFixed(1) : x.toFixed(0));

  // What limits planning: the mean over the tasks of the view that the submission states.
  const gates = (entry) => (field("task").value ? [entry.gates[field("task").value]] : Object.values(entry.gates)).filter(Boolean);
  const gate = (entry, key) => {
    const known = gates(entry).map((one) => one[key]).filter((x) => x !== null);
    return known.length ? known.reduce((sum, x) => sum + x, 0) / known.length : null;
  };
  const sees = (x, entry) => {
    if (x === null) return "-";
    const [one, ...others] = gates(entry);
    return `${others.length ? "" : `${one.goal_error.toPrecision(2)} ${one.unit}, `}${percent(x)} %`;
  };
  const ranks = (x, entry) => (x === null ? "-" : [x, gate(entry, "rank_realised")].map((one) => (one === null ? "-" : one.toFixed(2))).join(" / "));

  // label, hint, value of an entry in a view, text, what order comes first, whether a narrow screen does without it
  const columns = [
    ["submission", "", (e) => e.name, null, "ascending"],
    ["held, %", "share of episodes in which the goal was held for three action blocks; with its 95 % interval", (e, v) => v[at.held], null, "descending"],
    ["norm.", "normalised success: 0 is the random agent, 1 is the oracle", (e, v) => v[at.norm], (x) => (x === null ? "-" : x.toFixed(2)), "descending", 1],
    ["ever, %", "goal reached at any step", (e, v) => v[at.ever], percent, "descending"],
    ["final, %", "goal reached at the last step", (e, v) => v[at.final], percent, "descending", 1],
    ["joint, %", "the published rule, at any step", (e, v) => v[at.joint], percent, "descending", 1],
    ["strict, %", "the strict rule, held", (e, v) => v[at.strict], percent, "descending", 1],
    ["viol., %", "violations: share of control steps that break a keep-out rule", (e, v) => v[at.violations], (x) => (100 * x).toFixed(1), "ascending", 1],
    ["ms", "median planning time per control step in milliseconds", (e, v) => v[at.ms], milliseconds, "ascending"],
    ["model steps", "world model steps per control step", (e, v) => v[at.model_steps], count, "ascending", 1],
    ["transitions", "environment transitions used for training", (e) => e.transitions, count, "ascending", 1],
    ["training", "training time", (e) => e.train_seconds, duration, "ascending", 1],
    ["parameters", "", (e) => e.parameters, count, "ascending", 1],
    ["sees", "median error of a probe that reads the achieved goal from frames, and the share of frames in which it is within the success radius; stated by the submitter", (e) => gate(e, "in_place"), sees, "descending", 1],
    ["ranks", "rank correlation of the predicted cost and the true outcome of candidate plans, with imagined / with real ends; stated by the submitter", (e) => gate(e, "rank_imagined"), ranks, "descending", 1],
    ["oracle, %", "success of the same planner and encoder when the simulator predicts; stated by the submitter", (e) => gate(e, "oracle_predictor"), percent, "descending", 1],
    ["seeds × episodes", "", (e) => e.seeds * e.episodes, null, "descending", 1],
    ["date", "", (e) => e.date, (x) => x, "descending", 1],
  ];

  const badgeNames = [...field("badge").options].slice(1).map((option) => option.textContent);

  const classes = (label, wide) => [label.split(/[ ,.]/)[0], ...(wide ? ["wide"] : [])];

  function name(entry) {
    const cell = element("td", { class: "agent", "data-value": entry.name });
    cell.append(element("a", { href: `submissions/${entry.name}.html` }, entry.label));
    const tag = entry.kind === "learned" ? entry.search : entry.kind;
    cell.append(element("span", { class: `tag ${tag}` }, tag));
    const badge = Math.max(...entry.badges);
    if (entry.badges.length) cell.append(" ", element("span", { class: `badge b${badge}` }, badgeNames[badge]));
    cell.append(element("span", { class: "track" }, entry.track));
    for (const reason of entry.suspicions) cell.append(element("span", { class: "track few" }, `suspicious: ${reason}`));
    if (entry.copies.length) cell.append(element("span", { class: "track few" }, `same actions as ${entry.copies.join(", ")}`));
    return cell;
  }
  function held(view) {
    const [rate, low, high] = [view[at.held], view[at.low], view[at.high]].map((x) => 100 * x);
    const line = element("span", { class: "interval", "aria-hidden": "true" });
    const range = element("i"), point = element("i", { class: "point" });
    range.style.left = `${low}%`;
    range.style.width = `${high - low}%`;
    point.style.left = `${rate}%`;
    line.append(range, point);
    return element("td", { class: "held", "data-value": view[at.held] }, element("span", { class: "rate" }, rate.toFixed(0)), line,
      element("span", { class: "ends" }, `${low.toFixed(0)}–${high.toFixed(0)}`));
  }
  function row(entry, view) {
    const made = element("tr", { class: entry.kind + (view[at.tied] ? " tied" : "") });
    for (const [place, [label, , value, text, , wide]] of columns.entries()) {
      if (place === 0) { made.append(name(entry)); continue; }
      if (place === 1) { made.append(held(view)); continue; }
      const number = value(entry, view);
      const shown = text ? text(number, entry) : `${entry.seeds} × ${entry.episodes}`;
      const known = number !== null && shown !== "-";
      const cell = element("td", known ? { "data-value": number } : {}, shown);
      if (shown === "not stated") cell.classList.add("few");
      cell.classList.add(...classes(label, wide));
      if (label.startsWith("seeds") && entry.seeds < 3 && entry.transitions) cell.classList.add("few");
      made.append(cell);
    }
    return made;
  }

  // Agents by tasks, or by the strata of the chosen task; the darker a cell, the more goals are held.
  function drawHeat(one, shown, task) {
    const heat = document.getElementById("heat");
    const views = task ? one.views.filter((view) => view === task || view.startsWith(`${task}/`)) : one.views.filter((view) => !view.includes("/"));
    const order = { ceiling: 0, learned: 1, floor: 2 }, first = one.views.indexOf(views[0]);
    const rows = [...shown].sort((a, b) => b.ranked - a.ranked || order[a.kind] - order[b.kind] ||
      (b.views[first] ? b.views[first][at.held] : -1) - (a.views[first] ? a.views[first][at.held] : -1));
    const head = (view) => element("th", { scope: "col" }, view === "" ? "all tasks" : view === task ? "all strata" : view.replace(`${task}/`, ""));
    heat.tHead.replaceChildren(element("tr", {}, element("th", { scope: "col", class: "left" }, "submission"), ...views.map(head)));
    heat.tBodies[0].replaceChildren(...rows.map((entry) => {
      const made = element("tr", { class: entry.kind + (entry.ranked ? "" : " apart") }, name(entry));
      for (const view of views) {
        const numbers = entry.views[one.views.indexOf(view)];
        const cell = element("td", numbers ? { title: `${percent(numbers[at.low])} to ${percent(numbers[at.high])} %` } : {}, numbers ? percent(numbers[at.held]) : "-");
        if (numbers) cell.style.setProperty("--held", numbers[at.held]);
        made.append(cell);
      }
      return made;
    }));
  }

  const suite = () => data.suites.find((one) => one.name === field("suite").value);
  function fillTasks(task, stratum) {
    options(field("task"), [["", "all"], ...suite().tasks.map((one) => [one.short, one.short])], task);
    const found = suite().tasks.find((one) => one.short === field("task").value);
    options(field("stratum"), [["", "all"], ...(found ? found.strata : []).map((one) => [one, one])], stratum);
    field("stratum").disabled = !found;
  }

  function draw() {
    const one = suite(), task = field("task").value, stratum = field("stratum").value;
    const strata = task ? one.tasks.find((item) => item.short === task).strata : [];
    const view = one.views.indexOf(stratum && strata.length > 1 ? `${task}/${stratum}` : task);
    const wanted = field("search").value.trim().toLowerCase();
    const keep = (entry) => entry.kind !== "learned" ||
      ((!field("observation").value || entry.observation === field("observation").value) &&
       (!field("search-kind").value || entry.search === field("search-kind").value) &&
       (!field("data").value || entry.data === field("data").value) &&
       (field("badge").value === "" || entry.badges.includes(Number(field("badge").value))) &&
       (!wanted || `${entry.name} ${entry.agent}`.toLowerCase().includes(wanted)));
    const own = data.entries.filter((entry) => entry.suite === one.name && entry.views[view]);
    const shown = own.filter(keep);
    const sorted = table.tHead.querySelector("[aria-sort]");
    // Hide a rule that no task of the view defines.
    const says = (rule, other) => own.some((entry) => entry.views[view][at[rule]] !== entry.views[view][at[other]]);
    table.classList.toggle("no-joint", !says("joint", "ever"));
    table.classList.toggle("no-strict", !says("strict", "held"));
    for (const [label, key] of [["sees", "in_place"], ["ranks", "rank_imagined"], ["oracle", "oracle_predictor"]])
      table.classList.toggle(`no-${label}`, !shown.some((entry) => gate(entry, key) !== null));
    const rows = (ranked) => shown.filter((entry) => entry.ranked === ranked).map((entry) => row(entry, entry.views[view]));
    const apart = rows(false);
    const heading = element("th", { scope: "rowgroup", colspan: columns.length }, "Not verified: shown as submitted, not ranked");
    table.tBodies[0].replaceChildren(...rows(true));
    table.tBodies[1].replaceChildren(...(apart.length ? [element("tr", {}, heading), ...apart] : []));
    sortBy(table, sorted.cellIndex, sorted.getAttribute("aria-sort"));
    const heat = field("view").value === "heat map";
    document.getElementById("table-box").hidden = heat;
    document.getElementById("heat-box").hidden = !heat;
    if (heat) drawHeat(one, shown, task);
    document.getElementById("about").textContent = `${one.name} v${one.version}: ${one.description}.`;
    const tested = (entries) => entries.filter((entry) => entry.kind === "learned").length;
    document.getElementById("count").textContent = `${tested(shown)} of ${tested(own)} submissions shown, beside ${shown.length - tested(shown)} floors and ceilings.`;
  }

  function recall() {
    const asked = new URLSearchParams(location.hash.slice(1));
    options(field("suite"), data.suites.map((one) => [one.name, `${one.name} v${one.version}`]), asked.get("suite"));
    for (const key of ["observation", "data", "search-kind", "badge", "search", "view"]) if (asked.get(key)) field(key).value = asked.get(key);
    fillTasks(asked.get("task"), asked.get("stratum"));
    draw();
  }

  if (!data.suites.length) { form.hidden = true; return; }
  for (const key of ["observation", "data"]) {
    const values = [...new Set(data.entries.filter((entry) => entry.kind === "learned").map((entry) => entry[key]))].sort();
    field(key).append(...values.map((value) => element("option", { value }, value)));
  }
  table.tHead.rows[0].append(...columns.map(([label, hint, , , first, wide], place) => {
    const button = element("button", { type: "button", ...(hint && { title: hint }) }, label);
    return element("th", { scope: "col", "data-first": first, class: place < 2 ? "left" : classes(label, wide).join(" ") }, button);
  }));
  makeSortable(table, 1);
  form.addEventListener("input", (event) => {
    if (["suite", "task"].includes(event.target.name)) fillTasks(event.target.name === "task" ? field("task").value : "", "");
    draw();
    remember(form);
    hint();
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  addEventListener("hashchange", recall);
  recall();
}


if (document.getElementById("board")) board();
hint();
