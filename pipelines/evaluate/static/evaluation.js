"use strict";
// The main script. Scripts run in the order of the page: this one, the data, then Plotly.

const MANY_CLASSES = 60; // from this number on the map initially shows only confused classes
/** @type {EvaluationRecord} */
let record = LATER;

possam.evaluation = (content) => {
  record = content;
  showFigures(record);
  showClasses(record);
  showMistakes(record);
  showGrades(record);
  showCards(record);
  byId("only-mistakes").checked = record.classes.length > MANY_CLASSES;
  listenToPictureTools();
  document.body.dataset.state = "ready";
};

possam.pictures = (first, pictures) => {
  const cards = byId("cards").children;
  pictures.forEach((picture, i) => { fillCard(cards[first + i], picture); });
};

function drawAll() {
  drawConfusion(record, byId("only-mistakes").checked);
  drawCurves(record);
}

window.addEventListener("DOMContentLoaded", () => { // after all scripts
  drawAll();
  byId("only-mistakes").addEventListener("change", drawAll);
  new ResizeObserver(() => drawConfusion(record, byId("only-mistakes").checked)).observe(byId("confusion"));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  document.body.dataset.state = "drawn";
});
