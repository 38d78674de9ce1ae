"use strict";
// Charts: drawn by Vega with its expression interpreter, because the page's policy forbids eval.
const specs = JSON.parse(document.getElementById("specs").textContent);
const inks = Object.fromEntries(["labelColor", "titleColor", "domainColor", "tickColor"].map((name) => [name, "currentColor"]));
// For a screen reader a chart is one picture with its description; tables tell the figures.
const words = { ...inks, labelFontSize: 12, titleFontSize: 12, labelLimit: 400, aria: false };
const config = {
  background: "transparent", font: "system-ui, sans-serif", title: { color: "currentColor" }, view: { stroke: null }, mark: { aria: false },
  axis: { ...words, gridColor: "currentColor", gridOpacity: 0.15, domainOpacity: 0.4, tickOpacity: 0.4 },
  legend: { ...words, layout: { bottom: { anchor: "end" } } },
};
const options = { ast: true, actions: false, renderer: "svg", defaultStyle: false, tooltip: { disableDefaultStyle: true }, config };
document.documentElement.dataset.charts = "drawing";
Promise.all(Object.entries(specs).map(([id, spec]) => vegaEmbed("#" + id, spec, options))).then(
  () => { document.documentElement.dataset.charts = "drawn"; },
  (error) => { document.documentElement.dataset.charts = "failed"; console.error(error); },
);
for (const swatch of document.querySelectorAll(".swatch")) swatch.style.color = swatch.dataset.colour;
