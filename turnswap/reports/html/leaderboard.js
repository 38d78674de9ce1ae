"use strict";
// The table is whole without this script; here it becomes sortable, over languages of one's choice.
const table = document.getElementById("ranking");
const heads = [...table.tHead.rows[0].cells];
const keys = heads.map((head) => head.dataset.key);
const { rows: data, pairs } = JSON.parse(document.getElementById("data").textContent);
const SIGNIFICANT = 0.05;
const rows = [...table.tBodies[0].rows].map((element, i) => ({
  ...data[i], element, index: i, model: element.cells[1].querySelector("bdi").textContent,
}));
const picker = document.getElementById("languages");
const boxes = [...picker.querySelectorAll("input")];
let sorting = { key: "average", down: true };

const mean = (values) => (values.includes(null) ? null : values.reduce((sum, value) => sum + value, 0) / values.length);

// As Python rounds: a tie, which only a quarter can be, goes to the even digit.
const tenths = (value) => (value % 1 === 0.25 ? value - 0.05 : value).toFixed(1);
const percent = (value) => (value === null ? "–" : tenths(100 * value));
const points = (value) => (value === null ? "–" : (value < 0 ? "-" : "+") + tenths(Math.abs(100 * value)));

function measure(row, chosen, choice) {
  const all = chosen.length === boxes.length;
  const turns = all ? row.overall : row.overall.map((_, turn) => mean(chosen.map((i) => row.scores[i][turn])));
  turns.forEach((value, turn) => { row[`turn${turn + 1}`] = value; });
  row.average = mean(turns);
  row.change = turns[0] === null || turns[2] === null ? null : turns[2] - turns[0];
  boxes.forEach((box, i) => { row[box.value] = mean(row.scores[i]); });
  [row.low, row.high] = row.choices ? row.choices[choice - 1] : [null, null];
}

// Holm's step-down correction for all pairs of models; null is no p-value, and counts for none.
function corrected(values) {
  const order = [...values.keys()].filter((i) => values[i] !== null).sort((i, j) => values[i] - values[j]);
  const found = values.map(() => null);
  let highest = 0;
  order.forEach((i, step) => {
    highest = Math.min(1, Math.max(highest, values[i] * (order.length - step)));
    found[i] = highest;
  });
  return found;
}

function rank(choice) {
  const byIndex = rows.toSorted((one, other) => one.index - other.index);
  for (const row of rows) Object.assign(row, { rank: row.low === null || row.average === null ? null : 1, tied: false });
  const found = pairs.map((pair) => pair.choices[choice - 1]);
  const p = corrected(found.map(([, value]) => value));
  pairs.forEach((pair, i) => {
    const [a, b] = [byIndex[pair.a], byIndex[pair.b]];
    if (a.rank === null || b.rank === null) return;
    if (p[i] === null || p[i] >= SIGNIFICANT) a.tied = b.tied = true;
    else if (found[i][0] > 0) a.rank += 1;
    else b.rank += 1;
  });
}

function show(row) {
  keys.forEach((key, i) => {
    const cell = row.element.cells[i];
    if (key === "rank") cell.textContent = row.rank === null ? "–" : row.rank + (row.tied ? "=" : "");
    else if (key === "average") {
      cell.children[0].textContent = percent(row.average);
      cell.children[1].textContent = row.low === null ? "" : row.low === row.high ? "[zero width]" : `[${percent(row.low)}–${percent(row.high)}]`;
    } else if (key === "change") {
      const [mark] = cell.children;
      mark.textContent = points(row.change);
      mark.className = { "-": "fell", "+": mark.textContent === "+0.0" ? "" : "rose" }[mark.textContent[0]] ?? "";
    }
    else if (key !== "model") cell.textContent = percent(row[key]);
  });
}

function sort() {
  const { key, down } = sorting;
  rows.sort((one, other) => {
    const [x, y] = [one[key], other[key]];
    let order = 0;
    if (x === null || y === null) order = (x === null) - (y === null);
    else order = (key === "model" ? x.localeCompare(y) : x - y) * (down ? -1 : 1);
    order ||= (other.average ?? -1) - (one.average ?? -1);
    return order || (one.model < other.model ? -1 : 1);
  });
  table.tBodies[0].append(...rows.map((row) => row.element));
  heads.forEach((head, i) => {
    if (keys[i] === key) head.setAttribute("aria-sort", down ? "descending" : "ascending");
    else head.removeAttribute("aria-sort");
  });
}

function update() {
  const chosen = boxes.flatMap((box, i) => (box.checked ? [i] : []));
  const choice = chosen.reduce((bits, i) => bits + 2 ** i, 0);
  for (const row of rows) measure(row, chosen, choice);
  rank(choice);
  for (const row of rows) show(row);
  boxes.forEach((box) => {
    const column = keys.indexOf(box.value);
    for (const line of table.rows) line.cells[column].hidden = !box.checked;
  });
  const note = document.getElementById("chosen");
  const codes = chosen.map((i) => boxes[i].value).join(",");
  note.hidden = chosen.length === boxes.length;
  note.textContent = `Ranked over ${chosen.length} of ${boxes.length} languages; the signatures below are for all. For a file `
    + `of these only: turnswap leaderboard RESULT... --languages ${codes}`;
  sort();
}

picker.addEventListener("change", (event) => {
  // There is no average over no language.
  if (!boxes.some((box) => box.checked)) event.target.checked = true;
  update();
});
heads.forEach((head, i) => {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = head.textContent;
  button.addEventListener("click", () => {
    const risesFirst = keys[i] === "rank" || keys[i] === "model";
    sorting = { key: keys[i], down: sorting.key === keys[i] ? !sorting.down : !risesFirst };
    sort();
  });
  head.replaceChildren(button);
});
picker.hidden = boxes.length < 2;
update();
