"use strict";
// What is filled in is kept per sheet: another sheet has another digest.
const data = JSON.parse(document.getElementById("data").textContent);
const articles = [...document.querySelectorAll("article")];
const reviewer = document.getElementById("reviewer");
const trouble = document.getElementById("trouble");
const place = `turnswap-${data.name}-${data.sheet}`;
let last = null; // the article that had the focus
let kept = { reviewer: "", rows: {} };

try {
  kept = JSON.parse(localStorage.getItem(place)) ?? kept;
} catch {
  trouble.textContent = "This browser keeps nothing: export before you close the page.";
}

function keep() {
  try {
    localStorage.setItem(place, JSON.stringify(kept));
  } catch {
    trouble.textContent = "This browser keeps nothing: export before you close the page.";
  }
}

const filled = (article) => (kept.rows[data.rows[article.dataset.row].key] ??= {});

// A word inside JSON, such as an item of a kwarg: [2, "keywords", 0].
const inside = (content, path) => path.reduce((part, name) => part[name], content);
const before = (article, column) => data.rows[article.dataset.row][data.edits[column]];

function put(article, area) {
  const column = area.dataset.of, path = JSON.parse(area.dataset.path), last = path.pop();
  const content = JSON.parse(filled(article)[column] ?? before(article, column));
  inside(content, path)[last] = area.value;
  const text = JSON.stringify(content);
  if (text === JSON.stringify(JSON.parse(before(article, column)))) delete filled(article)[column];
  else filled(article)[column] = text;
}

function show(article) {
  const row = filled(article);
  article.dataset.decision = row.decision ?? "";
  for (const radio of article.querySelectorAll("[type=radio]")) radio.checked = radio.value === row.decision;
  for (const label of article.querySelectorAll(".editing")) label.hidden = row.decision !== "edit";
  for (const area of article.querySelectorAll("[data-path]")) {
    const column = area.dataset.of;
    area.value = inside(JSON.parse(row[column] ?? before(article, column)), JSON.parse(area.dataset.path));
  }
  for (const area of article.querySelectorAll("textarea[name], [inputmode]")) {
    area.value = row[area.name] ?? before(article, area.name) ?? "";
  }
  count();
}

// What would be refused: something filled in and no decision, or the decision to edit and no edit.
function unfinished(article) {
  const row = filled(article), edited = Object.keys(data.edits).some((name) => (row[name] ?? before(article, name)) !== before(article, name));
  if (row.decision) return row.decision === "edit" && !edited;
  return data.columns.some((name) => !(name in data.edits) && row[name]?.trim());
}

function count() {
  const done = articles.filter((each) => filled(each).decision).length, open = articles.filter(unfinished).length;
  document.getElementById("progress").textContent = `${done} of ${articles.length} decided${open ? `, ${open} unfinished` : ""}`;
}

function decide(article, decision) {
  filled(article).decision = decision;
  keep();
  show(article);
}

for (const article of articles) {
  for (const radio of article.querySelectorAll("[type=radio]")) {
    radio.disabled = false;
    radio.addEventListener("change", () => decide(article, radio.value));
  }
  const undo = article.querySelector(".undo");
  undo.disabled = false;
  undo.addEventListener("click", () => decide(article, ""));
  for (const area of article.querySelectorAll("textarea, [inputmode]")) {
    area.addEventListener("input", () => {
      if (area.dataset.path) put(article, area);
      else filled(article)[area.name] = area.value;
      keep();
      count();
    });
  }
  article.addEventListener("focusin", () => (last = article));
  show(article);
}
// One that was just decided stays until the focus leaves it.
const open = document.getElementById("open");
open.addEventListener("change", () => document.body.classList.toggle("open", open.checked));
document.getElementById("next").addEventListener("click", () => {
  const at = articles.indexOf(last) + 1;
  [...articles.slice(at), ...articles.slice(0, at)].find((each) => !filled(each).decision || unfinished(each))?.focus();
});
reviewer.value = kept.reviewer;
reviewer.addEventListener("input", () => {
  kept.reviewer = reviewer.value;
  keep();
});

document.addEventListener("keydown", (event) => {
  const article = document.activeElement.closest("article");
  const typing = event.target.matches("textarea, input:not([type=radio], [type=checkbox])");
  if (typing && event.key === "Escape") (article ?? event.target)[article ? "focus" : "blur"]();
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  // On a keyboard of another script the place of the key counts.
  const key = (/^[a-z]$/i.test(event.key) ? event.key : event.code.replace(/^Key/, "")).toLowerCase();
  if (key === "j" || key === "k") {
    const seen = articles.filter((each) => each.offsetParent !== null);
    const here = seen.indexOf(article);
    seen[here < 0 ? 0 : here + (key === "j" ? 1 : -1)]?.focus();
  } else if (data.keys[key] && article) {
    decide(article, data.keys[key]);
  } else return;
  event.preventDefault();
});

// As the CSV that the command writes: what a spreadsheet would take for a formula stands behind an apostrophe.
const neutral = (cell) => (/^'*[=+\-@\t\r\n＝＋－＠]/.test(cell) ? `'${cell}` : cell);
const quoted = (cell) => (/[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell);

function cells(row) {
  const own = kept.rows[row.key] ?? {};
  const edits = own.decision === "edit";
  return data.columns.map((column) => {
    if (column in row) return row[column];
    if (column === "reviewer") return own.decision ? reviewer.value.trim() : "";
    if (!(column in data.edits)) return own[column] ?? "";
    const before = row[data.edits[column]];
    return edits && own[column] !== undefined && own[column] !== before ? own[column] : "";
  });
}

document.getElementById("export").addEventListener("click", () => {
  if (!reviewer.value.trim()) {
    trouble.textContent = "Enter your name first: it shows how far people agree.";
    reviewer.focus();
    return;
  }
  trouble.textContent = "";
  const lines = [data.columns, ...data.rows.map(cells)].map((line) => line.map(neutral).map(quoted).join(","));
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob(["\ufeff", lines.join("\r\n"), "\r\n"], { type: "text/csv" }));
  link.download = `${data.name}-${reviewer.value.trim().replace(/[^\p{L}\p{N}]+/gu, "-")}.csv`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
});
