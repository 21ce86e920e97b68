// Compares two submissions. Their scripts in compare/ are loaded when they are chosen.

const received = new Map();
let onReceived = () => {};
function receive(name, content) {
  received.set(name, content);
  onReceived();
}

function comparePage() {
  const data = JSON.parse(document.getElementById("data").textContent);
  const form = document.getElementById("filters");
  const field = (name) => form.elements.namedItem(name);
  const body = (id) => document.getElementById(id).tBodies[0];
  const suite = () => data.suites.find((one) => one.name === field("suite").value);
  const label = (name) => data.entries.find((entry) => entry.name === name).label;
  const signed = (x) => {
    const points = Math.round(100 * x);
    return `${points > 0 ? "+" : points < 0 ? "−" : ""}${Math.abs(points)}`;
  };

  function load(name) {
    if (received.has(name) || document.querySelector(`script[data-name="${CSS.escape(name)}"]`)) return;
    const script = element("script", { src: `compare/${name}.js`, "data-name": name });
    document.body.append(script);
  }

  // The pair is stored once, in the script of the submission that comes first on the board.
  function differences(first, second) {
    const [one, other] = [received.get(first), received.get(second)];
    if (one.differences[second]) return one.differences[second];
    return (other.differences[first] || []).map((row) => row && [-row[0], -row[2], -row[1]]);
  }

  // Whether most training seeds hold each episode.
  const majority = (seeds) => [...seeds[0]].map((_, place) => seeds.filter((seed) => seed[place] === "1").length * 2 > seeds.length);
  const rate = (seeds) => seeds.join("").split("1").length - 1;
  const percent = (seeds) => (100 * rate(seeds) / seeds.join("").length).toFixed(0);

  function flips(cell, first, second) {
    const sides = [first, second].map((name) => received.get(name).outcomes[cell]);
    if (!sides[0] || !sides[1]) return [[], []];
    const [a, b] = sides.map(majority);
    const only = (here, there) => here.flatMap((held, place) => (held && !there[place] ? [place] : []));
    return [only(a, b), only(b, a)];
  }

  function change(row) {
    const [gap, low, high] = row;
    const box = element("span", { class: "change", "aria-hidden": "true" });
    const range = element("i"), point = element("i", { class: "point" });
    const place = (x) => `${50 + 50 * x}%`;
    range.style.left = place(low);
    range.style.width = `${50 * (high - low)}%`;
    point.style.left = place(gap);
    box.append(range, point);
    return [element("span", { class: "rate" }, signed(gap)), box, element("span", { class: "ends" }, `${signed(low)} to ${signed(high)}`)];
  }

  function draw() {
    const one = suite(), first = field("first").value, second = field("second").value;
    for (const name of [first, second]) load(name);
    const verdict = document.getElementById("verdict");
    for (const id of ["differences", "flips"]) body(id).replaceChildren();
    document.getElementById("films").replaceChildren();
    if (first === second) { verdict.textContent = "Choose two different submissions."; return; }
    if (!received.has(first) || !received.has(second)) { verdict.textContent = "Loading."; return; }
    const rows = differences(first, second);
    const outcomes = [first, second].map((name) => received.get(name).outcomes);
    drawVerdict(one, rows, first, second);
    for (const task of one.tasks) {
      const cells = task.strata.map((stratum) => [stratum, `${task.id}/${stratum}`]);
      if (cells.length > 1) drawRow(task.short, "all", rows[one.views.indexOf(task.short)], cells.map(([, cell]) => cell), outcomes, first, second);
      for (const [stratum, cell] of cells) {
        const view = cells.length > 1 ? `${task.short}/${stratum}` : task.short;
        drawRow(cells.length > 1 ? "" : task.short, stratum, rows[one.views.indexOf(view)], [cell], outcomes, first, second);
        drawFlips(task, stratum, cell, first, second);
      }
    }
    const note = document.getElementById("flip-note");
    note.textContent = body("flips").rows.length
      ? "A submission holds an episode if most of its training seeds hold it. Films show the first training seed."
      : "No episode flips: each is held by both submissions or by neither.";
    hint();
  }

  function drawVerdict(one, rows, first, second) {
    const all = rows[0];
    const tasks = one.tasks.map((task) => rows[one.views.indexOf(task.short)]).filter(Boolean);
    const verdict = document.getElementById("verdict");
    if (!tasks.length) { verdict.textContent = "The two submissions have no task in common."; return; }
    const wins = tasks.filter((row) => row[1] > 0).length, losses = tasks.filter((row) => row[2] < 0).length;
    verdict.textContent = `${label(first)} holds more goals than ${label(second)} on ${wins} of ${tasks.length} tasks and fewer on ${losses}` +
      (all ? `; the mean difference is ${signed(all[0])} points (95 % interval ${signed(all[1])} to ${signed(all[2])}).` : ".");
  }

  function drawRow(task, stratum, row, cells, outcomes, first, second) {
    const known = row && cells.every((cell) => outcomes[0][cell] && outcomes[1][cell]);
    const made = element("tr", { class: known ? (row[1] > 0 ? "better" : row[2] < 0 ? "worse" : "tie") : "" },
      element("td", { class: "left" }, task), element("td", { class: "left" }, stratum));
    const mean = (own) => (cells.reduce((sum, cell) => sum + Number(percent(own[cell])), 0) / cells.length).toFixed(0);
    for (const own of outcomes) made.append(element("td", { class: "wide" }, known ? mean(own) : "-"));
    made.append(element("td", { class: "left held" }, ...(known ? change(row) : ["-"])));
    const counts = [0, 1].map((side) => cells.reduce((sum, cell) => sum + flips(cell, first, second)[side].length, 0));
    for (const number of counts) made.append(element("td", {}, known ? String(number) : "-"));
    body("differences").append(made);
  }

  function drawFlips(task, stratum, cell, first, second) {
    const sides = flips(cell, first, second);
    if (!sides[0].length && !sides[1].length) return;
    body("flips").append(element("tr", {}, element("td", { class: "left" }, `${task.short}, ${stratum}`),
      ...sides.map((side) => element("td", { class: "flips" }, side.join(", ") || "-"))));
    for (const index of [...sides[0], ...sides[1]]) {
      const films = [first, second].map((name) => received.get(name).films[`${cell}/${index}`]);
      if (films[0] && films[1]) document.getElementById("films").append(pair(task, stratum, index, films, [first, second]));
    }
  }

  function pair(task, stratum, index, films, names) {
    const box = element("div", { class: "pair" });
    films.forEach(([film, still, width, height], side) => {
      const words = `${label(names[side])}: ${task.short}, ${stratum}, episode ${index}`;
      const picture = element("picture", {}, element("source", { media: "(prefers-reduced-motion: reduce)", srcset: `media/${still}` }),
        element("img", { src: `media/${film}`, width, height, loading: "lazy", alt: `Film of ${words}` }));
      box.append(element("figure", {}, picture, element("figcaption", {}, words)));
    });
    return box;
  }

  function fillEntries(first, second) {
    const own = data.entries.filter((entry) => entry.suite === suite().name);
    const values = own.map((entry) => [entry.name, entry.label + (entry.ranked ? "" : " (not verified)")]);
    options(field("first"), values, first);
    const tested = own.find((entry) => entry.kind === "learned" && entry.name !== field("first").value);
    options(field("second"), values, second || (tested || own[own.length - 1]).name);
  }

  function recall() {
    const asked = new URLSearchParams(location.hash.slice(1));
    options(field("suite"), data.suites.map((one) => [one.name, `${one.name} v${one.version}`]), asked.get("suite"));
    const tested = data.entries.find((entry) => entry.suite === suite().name && entry.kind === "learned");
    fillEntries(asked.get("first") || (tested && tested.name), asked.get("second"));
    draw();
  }

  if (!data.suites.length) { form.hidden = true; return; }
  onReceived = draw;
  form.addEventListener("input", (event) => {
    if (event.target.name === "suite") fillEntries();
    draw();
    remember(form);
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  addEventListener("hashchange", recall);
  recall();
}

comparePage();
