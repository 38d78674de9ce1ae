"use strict";
// Charts only: drawn by Vega with its expression interpreter, because the page's policy forbids eval.
const specs = JSON.parse(document.getElementById("specs").textContent);
const colours = Object.fromEntries(["labelColor", "titleColor", "domainColor", "tickColor"].map((name) => [name, "currentColor"]));
const config = { background: "transparent", axis: colours, legend: colours, title: { color: "currentColor" }, view: { stroke: null } };
const options = { ast: true, actions: false, renderer: "svg", defaultStyle: false, tooltip: { disableDefaultStyle: true }, config };
Promise.all(Object.entries(specs).map(([name, spec]) => vegaEmbed("#" + name, spec, options))).then(
  () => { document.documentElement.dataset.charts = "drawn"; },
  (error) => { document.documentElement.dataset.charts = "failed"; console.error(error); },
);
