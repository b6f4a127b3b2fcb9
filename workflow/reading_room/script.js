"use strict";

// What the data scripts hand over: the index when the page opens, then the texts that are read.
const room = { index: null, shards: new Map(), resolvers: new Map() };

async function unpack(payload) {
  const bytes = Uint8Array.from(atob(payload), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

function take(payload) {
  const shard = document.currentScript.dataset.shard;
  if (shard === undefined) unpack(payload).then(open);
  else unpack(payload).then(room.resolvers.get(Number(shard)).resolve, room.resolvers.get(Number(shard)).reject);
}

function loadShard(number) {
  if (!room.shards.has(number)) {
    room.shards.set(number, new Promise((resolve, reject) => {
      room.resolvers.set(number, { resolve, reject });
      const script = document.createElement("script");
      script.dataset.shard = number;
      script.src = `data/${room.index.shards[number][0]}.js`;
      script.onerror = () => reject(new Error(`${script.src} is missing`));
      document.head.append(script);
    }));
  }
  return room.shards.get(number);
}

// The last place whose start is not after `row`, in a list of [.., start] or [start, ..] entries.
function lastStart(starts, row) {
  let low = 0, high = starts.length;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (starts[middle] <= row) low = middle; else high = middle;
  }
  return low;
}

const shardOf = (row) => lastStart(room.shardStarts, row);

async function textOf(row) {
  const shard = shardOf(row);
  const [response, answer, context] = (await loadShard(shard))[row - room.shardStarts[shard]];
  return { response, answer, context };
}

// ---------------------------------------------------------------------------------------------- what is shown

const has = (bit) => (row) => (room.index.flags[row] & bit) !== 0;
const isCorrect = has(1), isCut = has(2), isAccepted = has(4), isVerified = has(8);
const CHOICES = {
  correct: { any: () => true, right: isCorrect, wrong: (row) => !isCorrect(row), cut: isCut },
  accepted: { any: () => true, verified: isVerified, unverified: (row) => isAccepted(row) && !isVerified(row), not: (row) => !isAccepted(row) },
};
const RANGES = ["rate", "tokens", "markers"];
const FIELDS = [...Object.keys(CHOICES), "text", "count"];
const LISTED = 200; // problems in the list at first, and more at a time

const state = { view: null, columns: [], step: null, problem: null, samples: [], correct: "any", accepted: "any", text: "", count: "word",
  rate: [null, null], tokens: [null, null], markers: [null, null] };
let listed = LISTED;
let matching = null; // rows that contain state.text, once they are searched

// Rows of a column at the training step that is shown, or at the last one before it; none where there is no such step.
function blockOf(source) {
  const blocks = room.blocksOf[source];
  if (blocks[0].step === null || state.step === null) return blocks[blocks.length - 1];
  return blocks.findLast((block) => block.step <= state.step) ?? { start: 0, end: 0, step: null };
}

function rowsByProblem(block) {
  if (!block.byProblem) {
    block.byProblem = new Map();
    for (let row = block.start; row < block.end; row++) {
      const problem = room.index.problem[row];
      if (!block.byProblem.has(problem)) block.byProblem.set(problem, []);
      block.byProblem.get(problem).push(row);
    }
  }
  return block.byProblem;
}

const within = (value, [low, high]) => (low === null || value >= low) && (high === null || value <= high);

function passes(row) {
  return Object.keys(CHOICES).every((name) => CHOICES[name][state[name]](row))
    && within(room.index.tokens[row], state.tokens) && within(room.index[state.count][row], state.markers)
    && (matching === null || matching.has(row));
}

const solveRate = (rows) => rows.filter(isCorrect).length / rows.length;

// Problems of which some column has a response that passes the filters.
function problemsFound() {
  const blocks = state.columns.map((source) => rowsByProblem(blockOf(source)));
  const all = new Set(blocks.flatMap((block) => [...block.keys()]));
  return [...all].sort((a, b) => a - b).filter((problem) => {
    const first = blocks[0].get(problem);
    const limited = state.rate[0] !== null || state.rate[1] !== null;
    if (limited && !(first && within(solveRate(first), state.rate))) return false;
    return blocks.some((block) => (block.get(problem) ?? []).some(passes));
  });
}

// Finds state.text in all responses of the columns that are shown; shards arrive one after the other.
async function search() {
  const wanted = state.text.toLowerCase();
  if (!wanted) { matching = null; return; }
  const found = new Set();
  for (const source of state.columns) {
    const block = blockOf(source);
    for (let row = block.start; row < block.end; row++) {
      if ((await textOf(row)).response.toLowerCase().includes(wanted)) found.add(row);
      if (state.text.toLowerCase() !== wanted) return; // a newer search has begun
    }
  }
  matching = found;
}

// ---------------------------------------------------------------------------------------------- drawing

const $ = (id) => document.getElementById(id);

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

// Lower case as far as markers are concerned, every letter in its place. In Python, whose counts these are, the capital dotted
// I becomes two characters, of which the second is no letter.
const lower = (text) => text.replace(/[A-Z\u212A]/g, (letter) => letter.toLowerCase()).replace(/\u0130/g, "\u0307");

function piecesOf(text) {
  const pieces = [];
  for (const match of lower(text).matchAll(room.patterns[state.count])) {
    pieces.push([match.index, match.index + match[0].length, "marker"]);
  }
  const wanted = state.text.toLowerCase();
  const searched = text.toLowerCase();
  if (wanted && searched.length === text.length) {
    for (let at = searched.indexOf(wanted); at >= 0; at = searched.indexOf(wanted, at + wanted.length)) {
      if (!pieces.some(([start, end]) => at < end && start < at + wanted.length)) pieces.push([at, at + wanted.length, "found"]);
    }
  }
  return pieces.sort((a, b) => a[0] - b[0]);
}

// The response as text nodes, markers and finds marked, thinking in a quieter ink.
function marked(text) {
  const thinkingEnds = text.indexOf("</think>") < 0 ? 0 : text.indexOf("</think>") + "</think>".length;
  const thinking = element("span", { className: "thinking" });
  const rest = element("span");
  let at = 0;
  const put = (end, className) => {
    for (const stop of at < thinkingEnds && end > thinkingEnds ? [thinkingEnds, end] : [end]) {
      const piece = text.slice(at, stop);
      (at < thinkingEnds ? thinking : rest).append(className ? element("mark", { className, textContent: piece }) : piece);
      at = stop;
    }
  };
  for (const [start, end, kind] of piecesOf(text)) {
    if (start > at) put(start, null);
    put(end, kind);
  }
  if (at < text.length) put(text.length, null);
  return [thinking, rest];
}

function drawControls() {
  $("view").value = state.view ?? "";
  const steps = stepsShown();
  $("step-box").hidden = steps.length < 2;
  $("step").max = Math.max(0, steps.length - 1);
  $("step").value = Math.max(0, steps.indexOf(state.step));
  $("step-now").textContent = state.step ?? "";
  for (const name of FIELDS) $(name).value = state[name];
  for (const name of RANGES) {
    $(`${name}-low`).value = state[name][0] ?? "";
    $(`${name}-high`).value = state[name][1] ?? "";
  }
  const active = [...Object.keys(CHOICES).map((name) => state[name] !== "any"), state.text !== "", ...RANGES.map((name) => state[name].some((x) => x !== null))];
  const number = active.filter(Boolean).length;
  $("filters-now").textContent = number ? `(${number} active)` : "";
}

function drawList(found) {
  $("found").textContent = `${found.length} problem${found.length === 1 ? "" : "s"}`;
  $("problems").replaceChildren(...found.slice(0, listed).map((problem) => {
    const [id, type, , text] = room.index.problems[problem];
    const rates = state.columns.map((source) => {
      const rows = rowsByProblem(blockOf(source)).get(problem);
      return rows ? `${rows.filter(isCorrect).length}/${rows.length}` : "–";
    });
    const button = element("button", { type: "button", title: `${id} (${type})` },
      element("span", { className: "text-of", textContent: text }), element("small", { textContent: rates.join(" · ") }));
    button.setAttribute("aria-current", String(problem === state.problem));
    button.onclick = () => choose(problem);
    return element("li", {}, button);
  }));
  $("more").hidden = found.length <= listed;
}

function drawProblem() {
  if (state.problem === null) {
    $("problem").textContent = "No problem has a response that passes the filters.";
    return;
  }
  const [id, type, source, text, answer] = room.index.problems[state.problem];
  const about = element("div", { className: "numbers", textContent: `problem ${id} · ${type} · ${source} · expected answer ${answer}` });
  $("problem").replaceChildren(about, text);
}

async function drawColumn(source, place) {
  const block = blockOf(source);
  const all = state.problem === null ? [] : rowsByProblem(block).get(state.problem) ?? [];
  const rows = all.filter(passes);
  const at = Math.max(0, rows.findIndex((row) => room.index.sample[row] === state.samples[place]));
  const picker = room.picker.cloneNode(true);
  picker.value = source;
  picker.ariaLabel = `column ${place + 1}`;
  picker.onchange = () => { state.columns[place] = Number(picker.value); state.view = null; update(); };
  const name = element("label", { className: "source", textContent: room.index.sources[source].label }, picker);
  const head = element("header", {}, name);
  const turn = (by) => element("button", { type: "button", textContent: by < 0 ? "‹" : "›", ariaLabel: by < 0 ? "previous response" : "next response",
    disabled: rows.length < 2, onclick: () => turnColumn(place, by) });
  const step = block.step === null ? "" : ` · step ${block.step}`;
  const where = rows.length ? `sample ${room.index.sample[rows[at]]} · ${at + 1} of ${rows.length}` : "none";
  head.append(element("div", { className: "pager" }, turn(-1), `${where}${rows.length < all.length ? ` (${all.length} unfiltered)` : ""}${step}`, turn(1)));
  const article = element("article", {}, head);
  if (!rows.length) {
    head.append(element("p", { className: "numbers", textContent: all.length ? "No response passes the filters." : "This source has no response to this problem here." }));
    return article;
  }
  const row = rows[at];
  const { response, answer, context } = await textOf(row);
  article.dataset.row = row;
  const verdict = element("span", { className: `verdict ${isCorrect(row) ? "right" : "wrong"}`, textContent: isCorrect(row) ? "✓ correct" : "✗ wrong" });
  const facts = [` · answer ${answer ?? "none"}`, `${room.index.tokens[row]} tokens${isCut(row) ? ", cut" : ""}`,
    `${room.index[state.count][row]} markers`, isVerified(row) ? "accepted, verified" : isAccepted(row) ? "accepted, not verified" : "not accepted"];
  if (context !== null) facts.push(`shown response ${context} as context`);
  head.append(element("p", { className: "numbers" }, verdict, facts.join(" · ")));
  article.append(element("div", { className: "text" }, ...marked(response)));
  return article;
}

let drawing = 0;
const busy = (is) => document.body.toggleAttribute("data-busy", is); // also for whoever waits for the page to rest

async function draw() {
  const mine = ++drawing;
  busy(true);
  const found = problemsFound();
  if (!found.includes(state.problem)) state.problem = found[0] ?? null;
  drawControls();
  drawList(found);
  drawProblem();
  try {
    const columns = await Promise.all(state.columns.map(drawColumn));
    if (mine === drawing) $("columns").replaceChildren(...columns);
  } catch (error) {
    $("columns").replaceChildren(element("p", { textContent: `${error.message}: the folder of this page is not complete.` }));
  }
  if (mine === drawing) { writeAddress(); busy(false); }
}

async function update() {
  busy(true);
  const steps = stepsShown();
  if (!steps.includes(state.step)) state.step = steps.at(-1) ?? null;
  await search();
  await draw();
}

// ---------------------------------------------------------------------------------------------- moving about

function stepsShown() {
  const steps = state.columns.flatMap((source) => room.blocksOf[source].map((block) => block.step));
  return [...new Set(steps.filter((step) => step !== null))].sort((a, b) => a - b);
}

function choose(problem) {
  state.problem = problem;
  state.samples = [];
  return draw();
}

function turnColumn(place, by) {
  const rows = (rowsByProblem(blockOf(state.columns[place])).get(state.problem) ?? []).filter(passes);
  if (!rows.length) return;
  const at = Math.max(0, rows.findIndex((row) => room.index.sample[row] === state.samples[place]));
  state.samples[place] = room.index.sample[rows[(at + by + rows.length) % rows.length]];
  draw();
}

function moveProblem(by) {
  const found = problemsFound();
  const at = found.indexOf(state.problem) + by;
  if (at < 0 || at >= found.length) return;
  if (at >= listed) listed += LISTED;
  choose(found[at]).then(() => document.querySelector("#problems [aria-current=true]")?.scrollIntoView({ block: "nearest" }));
}

function moveStep(by) {
  const steps = stepsShown();
  const step = steps[steps.indexOf(state.step) + by];
  if (step === undefined) return;
  state.step = step;
  update();
}

function showView(id) {
  // A link may name the beginning of a comparison only: "guidance" is that of the first model.
  const view = room.index.views.find((one) => one.id === id) ?? room.index.views.find((one) => `${one.id}/`.startsWith(`${id}/`));
  if (!view) return false;
  state.view = view.id;
  state.columns = [...view.columns];
  state.samples = [];
  return true;
}

function readAddress() {
  const given = new URLSearchParams(location.hash.slice(1));
  Object.assign(state, { problem: null, samples: [], step: null, correct: "any", accepted: "any", text: "", count: "word" });
  for (const name of RANGES) state[name] = [null, null];
  const named = (given.get("columns") ?? "").split(",").map((id) => room.index.sources.findIndex((source) => source.id === id));
  if (!showView(given.get("view") ?? "") && !showView(room.index.views[0]?.id)) state.columns = [0];
  if (named.length && named.every((source) => source >= 0)) { state.columns = named; state.view = null; }
  if (/^\d+$/.test(given.get("step") ?? "")) state.step = Number(given.get("step"));
  const problem = room.index.problems.findIndex(([id]) => id === given.get("problem"));
  if (problem >= 0) state.problem = problem;
  if (given.has("sample")) {
    const samples = given.get("sample").split(",").map(Number);
    state.samples = state.columns.map((_, place) => samples[Math.min(place, samples.length - 1)]);
  }
  for (const name in CHOICES) if (Object.keys(CHOICES[name]).includes(given.get(name))) state[name] = given.get(name);
  if (given.get("count") === "substring") state.count = "substring";
  state.text = given.get("text") ?? "";
  for (const name of RANGES) {
    const [low, high] = (given.get(name) ?? "").split("-").map((word) => (word && !isNaN(word) ? Number(word) : null));
    state[name] = [low ?? null, high ?? null];
  }
}

function writeAddress() {
  const address = new URLSearchParams();
  if (state.view) address.set("view", state.view);
  else address.set("columns", state.columns.map((source) => room.index.sources[source].id).join(","));
  if (state.step !== null) address.set("step", state.step);
  if (state.problem !== null) address.set("problem", room.index.problems[state.problem][0]);
  const shown = [...document.querySelectorAll("#columns article")].map((article) => article.dataset.row);
  if (shown.some((row) => row !== undefined)) address.set("sample", shown.map((row) => (row === undefined ? 0 : room.index.sample[row])).join(","));
  for (const name in CHOICES) if (state[name] !== "any") address.set(name, state[name]);
  if (state.count !== "word") address.set("count", state.count);
  if (state.text) address.set("text", state.text);
  for (const name of RANGES) {
    if (state[name].some((bound) => bound !== null)) address.set(name, state[name].map((bound) => bound ?? "").join("-"));
  }
  history.replaceState(null, "", `#${address}`);
}

function readFilters() {
  for (const name of FIELDS) state[name] = $(name).value;
  for (const name of RANGES) {
    state[name] = [$(`${name}-low`), $(`${name}-high`)].map((input) => (input.value === "" || !input.checkValidity() ? null : Number(input.value)));
  }
  listed = LISTED;
  return update();
}

function cycle(name, values) {
  state[name] = values[(values.indexOf(state[name]) + 1) % values.length];
  update();
}

const KEYS = {
  j: () => moveProblem(1),
  k: () => moveProblem(-1),
  ArrowRight: () => state.columns.forEach((_, place) => turnColumn(place, 1)),
  ArrowLeft: () => state.columns.forEach((_, place) => turnColumn(place, -1)),
  "]": () => moveStep(1),
  "[": () => moveStep(-1),
  c: () => cycle("correct", Object.keys(CHOICES.correct)),
  v: () => cycle("accepted", Object.keys(CHOICES.accepted)),
  m: () => cycle("count", ["word", "substring"]),
  "/": () => { $("filters").open = true; $("text").focus(); },
  "?": () => $("help").showModal(),
};

function listen() {
  $("view").onchange = () => { if (showView($("view").value)) { listed = LISTED; update(); } };
  $("step").oninput = () => { state.step = stepsShown()[Number($("step").value)] ?? null; update(); };
  $("filters").querySelector("form").onsubmit = (event) => { event.preventDefault(); readFilters(); };
  $("filters").querySelector("form").onchange = readFilters;
  $("filters").querySelector("form").onreset = () => setTimeout(readFilters);
  $("more").onclick = () => { listed += LISTED; draw(); };
  $("help-button").onclick = () => $("help").showModal();
  addEventListener("hashchange", () => { readAddress(); update(); });
  addEventListener("keydown", (event) => {
    if (event.target.closest("input, select, dialog") || event.ctrlKey || event.metaKey || event.altKey) return;
    if (KEYS[event.key]) { event.preventDefault(); KEYS[event.key](); }
  });
}

function open(index) {
  room.index = index;
  room.shardStarts = index.shards.map(([, start]) => start);
  room.blocksOf = index.sources.map(() => []);
  index.blocks.forEach(([start, source, step], i) => {
    room.blocksOf[source].push({ start, step, end: i + 1 < index.blocks.length ? index.blocks[i + 1][0] : index.responses });
  });
  const markers = index.markers.join("|");
  room.patterns = { substring: new RegExp(markers, "g"), word: new RegExp(`(?<![\\p{L}\\p{N}_])(?:${markers})(?![\\p{L}\\p{N}_])`, "gu") };
  room.picker = element("select", {}, ...index.sources.map((source, i) => element("option", { value: i, textContent: source.label })));
  $("view").replaceChildren(element("option", { value: "", textContent: "own choice of columns", hidden: true }),
    ...index.views.map((view) => element("option", { value: view.id, textContent: view.title })));
  const number = (count) => count.toLocaleString("en");
  $("about").textContent = `${number(index.responses)} of the study's ${number(index.drawn)} responses, as the models wrote them; `
    + "markers are highlighted, thinking is in a quieter ink. Problems and responses that are left out are left out by number, never by content; the problem of Figure 2 is shown whole.";
  listen();
  readAddress();
  return update().then(() => { document.body.dataset.ready = "true"; });
}
