"use strict";
// Charts: drawn by Vega with its expression interpreter, because the page's policy forbids eval.
const specs = JSON.parse(document.getElementById("specs").textContent);
const options = { ast: true, actions: false, renderer: "svg", defaultStyle: false, tooltip: { disableDefaultStyle: true } };
const charts = Object.entries(specs).map(([id, spec]) => vegaEmbed("#" + id, spec, options));
document.documentElement.dataset.charts = "drawing";
Promise.all(charts).then(
  () => { document.documentElement.dataset.charts = "drawn"; },
  (error) => { document.documentElement.dataset.charts = "failed"; console.error(error); },
);
for (const swatch of document.querySelectorAll(".swatch")) swatch.style.background = swatch.dataset.colour;

// Transcripts. All text is set as textContent: replies are untrusted.
const index = JSON.parse(document.getElementById("index").textContent);
const form = document.getElementById("filters");
const PAGE = 100;
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

function search() {
  const asked = Object.fromEntries(new FormData(form));
  const key = asked.key.trim();
  found = [];
  index.conversations.forEach(([model, language, name, , turns], number) => {
    if (asked.model !== "" && model !== Number(asked.model)) return;
    if (asked.language !== "" && language !== Number(asked.language)) return;
    if (key && !name.includes(key)) return;
    const among = asked.turn === "" ? turns : turns.slice(Number(asked.turn), Number(asked.turn) + 1);
    if (among.some((turn) => turnMatches(turn, asked.instruction, asked.verdict, Number(asked.kind)))) found.push(number);
  });
  start = 0;
  list();
}

function list() {
  const shown = found.slice(start, start + PAGE);
  const kind = Number(form.elements.kind.value);
  document.getElementById("found").textContent = found.length
    ? `${found.length} conversations, ${start + 1} to ${start + shown.length} shown ` : "No conversation matches. ";
  document.getElementById("previous").disabled = start === 0;
  document.getElementById("next").disabled = start + PAGE >= found.length;
  document.getElementById("list").replaceChildren(...shown.map((number) => {
    const [model, language, key, repeat, turns] = index.conversations[number];
    const button = element("button");
    button.type = "button";
    button.dataset.number = String(number);
    const name = `${index.languages[language]} ${key}` + (repeat ? ` (repeat ${repeat + 1})` : "");
    button.append(element("span", "", index.models.length > 1 ? `${name} · ${index.models[model]}` : name));
    const marks = element("span", "marks");
    for (const turn of turns) {
      const asked = [...turn[kind]].filter((bit) => bit !== "-"); // "-": no reply can follow it
      const followed = asked.filter((bit) => bit === "1").length;
      marks.append(element("span", followed === asked.length ? "pass" : "fail", ` ${followed}/${asked.length}`));
    }
    button.append(marks);
    const item = element("li");
    item.append(button);
    return item;
  }));
}

const opened = new Map();
async function textsOf(number) {
  const block = Math.floor(number / index.block);
  if (!opened.has(block)) {
    const packed = atob(document.getElementById("block-" + block).textContent);
    const bytes = Uint8Array.from(packed, (character) => character.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    opened.set(block, await new Response(stream).json());
  }
  return opened.get(block)[number % index.block];
}

let wanted;
async function show(number) {
  wanted = number;
  const [model, language, key, repeat, turns] = index.conversations[number];
  const texts = await textsOf(number);
  if (wanted !== number) return; // another one was chosen while this one was unpacked
  const place = document.getElementById("conversation");
  const title = `${index.models[model]}, ${index.languages[language]}, ${key}` + (repeat ? `, repeat ${repeat + 1}` : "");
  place.replaceChildren(element("h3", "", title));
  turns.forEach(([ids, strict, loose, ...corrected], turn) => {
    const [prompt, reply, kwargs] = texts[turn];
    place.append(element("div", "soft", `Turn ${turn + 1}`), element("div", "said user", prompt));
    place.append(element("div", "said reply", reply === "" ? "(an empty reply)" : reply));
    const verdicts = element("ul", "verdicts");
    ids.forEach((id, position) => {
      const item = element("li");
      for (const [name, bits] of [["strict", strict], ["loose", loose]]) {
        const passed = bits[position] === "1";
        item.append(element("span", passed ? "pass" : "fail", `${passed ? "✓" : "✗"} ${name} `));
      }
      item.append(element("strong", "", index.instructions[id]), ` ${kwargs[position]}`);
      const bits = corrected.map((each) => each[position]);
      if (bits[0] === "-") item.append(element("span", "soft", " corrected: no reply can follow it"));
      else if (bits[0] !== strict[position] || bits[1] !== loose[position]) {
        item.append(element("span", "soft", " corrected:"));
        ["strict", "loose"].forEach((name, kind) => {
          const passed = bits[kind] === "1";
          item.append(element("span", passed ? "pass" : "fail", ` ${passed ? "✓" : "✗"} ${name}`));
        });
      }
      verdicts.append(item);
    });
    place.append(verdicts);
  });
  for (const button of document.querySelectorAll("#list button")) {
    button.setAttribute("aria-current", String(Number(button.dataset.number) === number));
  }
  place.focus({ preventScroll: window.innerWidth > 700 });
}

if (form) {
  const selects = form.elements;
  fill(selects.model, index.models, index.models.length > 1 ? "all" : "");
  fill(selects.language, index.languages, index.languages.length > 1 ? "all" : "");
  fill(selects.instruction, index.instructions, "any");
  const sorted = [...selects.instruction.options].slice(1).sort((a, b) => a.text.localeCompare(b.text));
  selects.instruction.append(...sorted);
  form.addEventListener("input", search);
  form.addEventListener("submit", (event) => event.preventDefault());
  document.getElementById("list").addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button) show(Number(button.dataset.number));
  });
  document.getElementById("previous").addEventListener("click", () => { start -= PAGE; list(); });
  document.getElementById("next").addEventListener("click", () => { start += PAGE; list(); });
  search();
}
