"use strict";
// What is filled in is kept per sheet: another sheet has another digest.
const data = JSON.parse(document.getElementById("data").textContent);
const articles = [...document.querySelectorAll("article")];
const reviewer = document.getElementById("reviewer");
const trouble = document.getElementById("trouble");
const place = `turnswap-${data.name}-${data.sheet}`;
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

function show(article) {
  const row = filled(article);
  article.dataset.decision = row.decision ?? "";
  for (const radio of article.querySelectorAll("[type=radio]")) radio.checked = radio.value === row.decision;
  for (const label of article.querySelectorAll(".editing")) label.hidden = row.decision !== "edit";
  for (const area of article.querySelectorAll("textarea, [inputmode]")) {
    area.value = row[area.name] ?? data.rows[article.dataset.row][data.edits[area.name]] ?? "";
  }
  const done = articles.filter((each) => filled(each).decision).length;
  document.getElementById("progress").textContent = `${done} of ${articles.length} decided`;
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
      filled(article)[area.name] = area.value;
      keep();
    });
  }
  show(article);
}
reviewer.value = kept.reviewer;
reviewer.addEventListener("input", () => {
  kept.reviewer = reviewer.value;
  keep();
});

document.addEventListener("keydown", (event) => {
  const typing = event.target.matches("textarea, input:not([type=radio])");
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  const here = articles.indexOf(document.activeElement.closest("article"));
  const decision = data.keys[event.key];
  if (event.key === "j" || event.key === "k") {
    const next = articles[here < 0 ? 0 : here + (event.key === "j" ? 1 : -1)];
    if (next) next.focus();
  } else if (decision && here >= 0) {
    decide(articles[here], decision);
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
    trouble.textContent = "Enter your name first: how far people agree is told by their names.";
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
