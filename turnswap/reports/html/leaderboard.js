"use strict";
// The table is whole without this script; here it becomes sortable, over languages of one's choice.
const table = document.getElementById("ranking");
const heads = [...table.tHead.rows[0].cells];
const keys = heads.map((head) => head.dataset.key);
const data = JSON.parse(document.getElementById("data").textContent);
const rows = [...table.tBodies[0].rows].map((element, i) => ({
  ...data[i], element, model: element.cells[1].querySelector("bdi").textContent,
}));
const picker = document.getElementById("languages");
const boxes = [...picker.querySelectorAll("input")];
let sorting = { key: "rank", down: false };

const mean = (values) => (values.includes(null) ? null : values.reduce((sum, value) => sum + value, 0) / values.length);

// As Python rounds: a tie, which only a quarter can be, goes to the even digit.
const tenths = (value) => (value % 1 === 0.25 ? value - 0.05 : value).toFixed(1);
const percent = (value) => (value === null ? "–" : tenths(100 * value));
const points = (value) => (value === null ? "–" : (value < 0 ? "-" : "+") + tenths(Math.abs(100 * value)));

function measure(row, chosen) {
  const all = chosen.length === boxes.length;
  const turns = all ? row.overall : row.overall.map((_, turn) => mean(chosen.map((i) => row.scores[i][turn])));
  turns.forEach((value, turn) => { row[`turn${turn + 1}`] = value; });
  row.average = mean(turns);
  row.change = turns[0] === null || turns[2] === null ? null : turns[2] - turns[0];
  boxes.forEach((box, i) => { row[box.value] = mean(row.scores[i]); });
  const choice = chosen.reduce((bits, i) => bits + 2 ** i, 0);
  [row.low, row.high] = row.choices ? row.choices[choice - 1] : [null, null];
}

function rank() {
  const ranked = rows.filter((row) => row.low !== null);
  for (const row of rows) row.rank = row.low === null ? null : 1 + ranked.filter((other) => other.low > row.high).length;
  for (const row of rows) row.tied = ranked.filter((other) => other.rank === row.rank).length > 1;
}

function show(row) {
  keys.forEach((key, i) => {
    const cell = row.element.cells[i];
    if (key === "rank") cell.textContent = row.rank === null ? "–" : row.rank + (row.tied ? "=" : "");
    else if (key === "average") {
      cell.children[0].textContent = percent(row.average);
      cell.children[1].textContent = row.low === null ? "" : `[${percent(row.low)}–${percent(row.high)}]`;
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
    order ||= one.published - other.published || (other.average ?? -1) - (one.average ?? -1);
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
  for (const row of rows) measure(row, chosen);
  rank();
  for (const row of rows) show(row);
  boxes.forEach((box) => {
    const column = keys.indexOf(box.value);
    for (const line of table.rows) line.cells[column].hidden = !box.checked;
  });
  const note = document.getElementById("chosen");
  const codes = chosen.map((i) => boxes[i].value).join(",");
  note.hidden = chosen.length === boxes.length;
  note.textContent = `Ranked over ${chosen.length} of ${boxes.length} languages; the signatures below are of all. A file of `
    + `these alone: turnswap leaderboard RESULT... --languages ${codes}`;
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
