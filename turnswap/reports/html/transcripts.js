// Transcripts. All text is set as textContent: replies are untrusted.
// An item of the list is a conversation or, where the index is of pairs, the same conversation with A and with B.
const index = JSON.parse(document.getElementById("index").textContent);
const form = document.getElementById("filters");
const PAGE = 100;
const sides = index.paired ? 2 : 1;
let found = [];
let start = 0;

function element(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

function fill(select, names, first) {
  if (first) select.append(new Option(first, ""));
  names.forEach((name, number) => select.append(new Option(name, String(number))));
}

const conversationsOf = (item) => index.conversations.slice(item * sides, (item + 1) * sides);
const kindNow = () => Number(form.elements.kind.value);

// Does this turn, under the chosen rule, pass or fail in the instruction asked for (or, without one, as a whole)?
function turnMatches(turn, instruction, verdict, kind) {
  const [ids, ...bits] = turn;
  const held = bits[kind - 1];
  const other = bits[(kind + 1) % 4]; // of the other set of verdicts
  const positions = [...ids.keys()].filter((p) => instruction === "" || ids[p] === Number(instruction));
  if (!positions.length) return false;
  if (verdict === "") return true;
  if (verdict === "differs") return positions.some((p) => held[p] !== other[p]);
  return instruction === ""
    ? (verdict === "1") === positions.every((p) => held[p] !== "0")
    : positions.some((p) => held[p] === verdict);
}

// What B did to an instruction that A was asked as well: "gained", "lost" or nothing.
const changeAt = (one, other, kind, p) =>
  one[kind][p] === "0" && other[kind][p] === "1" ? "gained" : one[kind][p] === "1" && other[kind][p] === "0" ? "lost" : "";

function turnChanged(one, other, asked) {
  return one[0].some((id, p) => {
    if (asked.instruction !== "" && id !== Number(asked.instruction)) return false;
    const change = changeAt(one, other, Number(asked.kind), p);
    return asked.change === "either" ? change !== "" : change === asked.change;
  });
}

// The turns of an item that all filters but the words hold for.
function turnsThatMatch(item, asked) {
  const [[model, language, key, , turns], other] = conversationsOf(item);
  if (!other && asked.model !== "" && model !== Number(asked.model)) return [];
  if (asked.language !== "" && language !== Number(asked.language)) return [];
  if (!key.includes(asked.key.trim())) return [];
  return [...turns.keys()].filter((turn) => (asked.turn === "" || turn === Number(asked.turn))
    && conversationsOf(item).some((each) => turnMatches(each[4][turn], asked.instruction, asked.verdict, Number(asked.kind)))
    && (!other || asked.change === "" || turnChanged(turns[turn], other[4][turn], asked)));
}

// Words are found without regard to case and accents.
const fold = (text) => text.normalize("NFKD").replace(/[\u0300-\u036f]/g, "").toLowerCase().replace(/ς/g, "σ");

async function unpack(block) {
  const packed = atob(document.getElementById("block-" + block).textContent);
  const bytes = Uint8Array.from(packed, (character) => character.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).json();
}

const opened = new Map(); // blocks of which something was shown
async function textsOf(item) {
  const block = Math.floor((item * sides) / index.block);
  if (!opened.has(block)) opened.set(block, await unpack(block));
  return opened.get(block).slice((item * sides) % index.block).slice(0, sides);
}

const folded = new Map(); // blocks that were searched: by conversation and turn, prompt and reply in one
async function foldedTextsOf(item) {
  const block = Math.floor((item * sides) / index.block);
  if (!folded.has(block)) {
    const texts = await unpack(block);
    folded.set(block, texts.map((turns) => turns.map(([prompt, reply]) => fold(`${prompt}\n${reply}`))));
  }
  return folded.get(block).slice((item * sides) % index.block).slice(0, sides);
}

let running = 0; // the newest search; an older one stops when it notices
async function search() {
  const mine = ++running;
  const asked = Object.fromEntries(new FormData(form));
  const words = fold(asked.text.trim());
  const candidates = [];
  for (let item = 0; item < index.conversations.length / sides; item += 1) {
    const turns = turnsThatMatch(item, asked);
    if (turns.length) candidates.push([item, turns]);
  }
  const progress = document.getElementById("searching");
  start = 0;
  found = words ? [] : candidates.map(([item]) => item);
  progress.hidden = !words;
  let told = 0;
  for (const [place, [item, turns]] of words ? candidates.entries() : []) {
    const texts = await foldedTextsOf(item);
    if (performance.now() - told > 100) {
      progress.value = place / candidates.length;
      list();
      await new Promise((resolve) => { setTimeout(resolve); }); // what was typed meanwhile comes first
      told = performance.now();
    }
    if (mine !== running) return;
    if (turns.some((turn) => texts.some((each) => each[turn].includes(words)))) found.push(item);
  }
  progress.hidden = true;
  list();
  if (wanted !== undefined) show(wanted);
}

// A conversation's mark in the list: instructions followed of those asked, per turn; in pairs by A and by B.
function marksOf(item) {
  const marks = element("span", "marks");
  const [[, , , , turns], other] = conversationsOf(item);
  turns.forEach((turn, number) => {
    const [one, two] = [turn, other?.[4][number]].map((each) => [...(each?.[kindNow()] ?? "")].filter((bit) => bit !== "-"));
    const [mine, others] = [one, two].map((bits) => bits.filter((bit) => bit === "1").length); // "-": no reply can follow it
    const good = other ? (others > mine ? "rose" : others < mine ? "fell" : "") : mine === one.length ? "pass" : "fail";
    marks.append(element("span", good, other ? ` ${mine}→${others}/${one.length}` : ` ${mine}/${one.length}`));
  });
  return marks;
}

function nameOf([model, language, key, repeat]) {
  const name = `${index.languages[language]} ${key}` + (repeat ? ` (repeat ${repeat + 1})` : "");
  return index.models.length > 1 && !index.paired ? `${name} · ${index.models[model]}` : name;
}

function list() {
  const shown = found.slice(start, start + PAGE);
  const searching = !document.getElementById("searching").hidden;
  document.getElementById("found").textContent = found.length
    ? `${found.length} conversations${searching ? " so far" : ""}, ${start + 1} to ${start + shown.length} shown `
    : searching ? "Searching … " : "No conversation matches. ";
  document.getElementById("previous").disabled = start === 0;
  document.getElementById("next").disabled = start + PAGE >= found.length;
  document.getElementById("list").replaceChildren(...shown.map((item, place) => {
    const button = element("button");
    button.type = "button";
    button.dataset.number = String(item);
    button.tabIndex = place ? -1 : 0; // one stop for the Tab key: arrows go on from there
    button.append(element("span", "", nameOf(conversationsOf(item)[0])), marksOf(item));
    const entry = element("li");
    entry.append(button);
    return entry;
  }));
  current();
}

function current() {
  for (const button of document.querySelectorAll("#list button")) {
    button.setAttribute("aria-current", String(Number(button.dataset.number) === wanted));
  }
}

// The text, with what was searched for in marks. Each letter is folded by itself, so that its place is known.
function said(className, text) {
  const node = element("div", className);
  const words = fold(form.elements.text.value.trim());
  let all = "";
  const places = [];
  if (words) {
    let place = 0;
    for (const letter of text) {
      const piece = fold(letter);
      all += piece;
      for (let i = 0; i < piece.length; i += 1) places.push(place);
      place += letter.length;
    }
  }
  let done = 0;
  for (let hit = words ? all.indexOf(words) : -1; hit >= 0; hit = all.indexOf(words, hit + words.length)) {
    const [from, to] = [places[hit], places[hit + words.length] ?? text.length];
    node.append(text.slice(done, from), element("mark", "", text.slice(from, to)));
    done = to;
  }
  node.append(text.slice(done));
  return node;
}

const verdict = (name, passed) => element("span", passed ? "pass" : "fail", `${passed ? "✓" : "✗"} ${name} `);

function verdictsOf([ids, strict, loose, ...corrected], kwargs, changeOf) {
  const verdicts = element("ul", "verdicts");
  ids.forEach((id, p) => {
    const item = element("li");
    item.append(verdict("strict", strict[p] === "1"), verdict("loose", loose[p] === "1"));
    item.append(element("strong", "", index.instructions[id]), ` ${kwargs[p]}`);
    const bits = corrected.map((each) => each[p]);
    if (bits[0] === "-") item.append(element("span", "soft", " corrected: no reply can follow it"));
    else if (bits[0] !== strict[p] || bits[1] !== loose[p]) {
      item.append(element("span", "soft", " corrected: "), verdict("strict", bits[0] === "1"), verdict("loose", bits[1] === "1"));
    }
    const change = changeOf(p);
    if (change) item.prepend(element("span", `change ${change}`, change), " ");
    verdicts.append(item);
  });
  return verdicts;
}

let wanted;
async function show(item, focus = false) {
  wanted = item;
  const pair = conversationsOf(item);
  const texts = await textsOf(item);
  if (wanted !== item) return; // another one was chosen while this one was unpacked
  const place = document.getElementById("conversation");
  const [model, language, key, repeat, turns] = pair[0];
  const whose = index.paired ? [] : [index.models[model]];
  const title = [...whose, index.languages[language], key, ...(repeat ? [`repeat ${repeat + 1}`] : [])].join(", ");
  place.replaceChildren(element("h3", "", title));
  turns.forEach((_, turn) => {
    place.append(element("h4", "soft", `Turn ${turn + 1}`), said("said user", texts[0][turn][0]));
    const replies = element("div", index.paired ? "replies" : "");
    pair.forEach((each, side) => {
      const [, reply, kwargs] = texts[side][turn];
      const column = element("div");
      if (index.paired) column.append(element("p", "soft", `${"AB"[side]}: ${index.models[each[0]]}`));
      column.append(said("said reply", reply === "" ? "(an empty reply)" : reply));
      const changeOf = (p) => (side ? changeAt(pair[0][4][turn], each[4][turn], kindNow(), p) : "");
      column.append(verdictsOf(each[4][turn], kwargs, changeOf));
      replies.append(column);
    });
    place.append(replies);
  });
  current();
  if (focus) {
    place.focus({ preventScroll: window.innerWidth > 700 });
    place.querySelector("mark")?.scrollIntoView({ block: "nearest" });
  }
}

if (form) {
  const selects = form.elements;
  fill(selects.model, index.models, index.models.length > 1 ? "all" : "");
  fill(selects.language, index.languages, index.languages.length > 1 ? "all" : "");
  fill(selects.instruction, index.instructions, "any");
  const sorted = [...selects.instruction.options].slice(1).sort((a, b) => a.text.localeCompare(b.text));
  selects.instruction.append(...sorted);
  const entries = document.getElementById("list");
  let pause;
  form.addEventListener("input", (event) => {
    clearTimeout(pause);
    if (event.target === selects.text) running += 1; // whatever is searched for is no longer wanted
    pause = setTimeout(search, event.target === selects.text ? 150 : 0);
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  entries.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button) show(Number(button.dataset.number), true);
  });
  entries.addEventListener("keydown", (event) => {
    const buttons = [...entries.querySelectorAll("button")];
    const here = buttons.indexOf(document.activeElement);
    const next = { ArrowDown: here + 1, ArrowUp: here - 1, Home: 0, End: buttons.length - 1 }[event.key];
    if (next === undefined || !buttons[next]) return;
    event.preventDefault();
    buttons.forEach((button, place) => { button.tabIndex = place === next ? 0 : -1; });
    buttons[next].focus();
  });
  document.getElementById("conversation").addEventListener("keydown", (event) => {
    if (event.key === "Escape") entries.querySelector("[aria-current=true]")?.focus();
  });
  document.getElementById("previous").addEventListener("click", () => { start -= PAGE; list(); });
  document.getElementById("next").addEventListener("click", () => { start += PAGE; list(); });
  search();
}
