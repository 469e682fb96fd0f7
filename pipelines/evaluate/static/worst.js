"use strict";
// The worst images, truth beside prediction.

const PANELS = ["truth", "prediction"];

/** @param {EvaluationRecord} record */
function showCards({ worst, num_images: numImages }) {
  byId("worst-note").textContent = worst.length
    ? `The ${worst.length} of ${count(numImages)} images with the lowest PQ of their own, the worst first: the truth on the left, what the model says on the right.`
    : "No image was asked for.";
  byId("cards").replaceChildren(...worst.map(makeCard));
}

/** @param {WorstImage} image */
function makeCard({ name, pq, grade, expected_pq: expected }) {
  const card = cloneOf("card-template");
  const title = part(card, "h3", HTMLElement);
  title.textContent = name;
  title.title = name;
  const facts = [`PQ ${percent(pq)}`, ...(expected === null ? [] : [`expected ${percent(expected)}`]), grade === null ? "without labels" : `grade ${grade}`];
  part(card, ".facts", HTMLElement).textContent = facts.join(" · ");
  part(card, ".panels", HTMLElement).append(...PANELS.map((label) => {
    const panel = cloneOf("panel-template");
    part(panel, ".panel-name", HTMLElement).textContent = label;
    return panel;
  }));
  return card;
}

/**
 * @param {Element} card
 * @param {PairPicture} picture
 */
function fillCard(card, picture) {
  card.querySelectorAll(".panel").forEach((panel, i) => {
    const { overlay, tags } = picture.layers[i];
    const photo = part(panel, ".photo", HTMLImageElement);
    part(panel, ".picture", HTMLElement).style.setProperty("--ratio", String(picture.ratio));
    photo.src = picture.photo ?? "";
    photo.alt = `${part(card, "h3", HTMLElement).textContent}, ${PANELS[i]}`;
    part(panel, ".overlay", HTMLImageElement).src = overlay ?? "";
    part(panel, ".name-tags", HTMLElement).append(...tags.map(([x, y, text]) => nameTag(x, y, text.replace(/^\d+ /, ""))));
  });
  part(card, ".mistakes", HTMLElement).append(...picture.mistakes.map(makeMistake));
}

/** @param {Mistake} mistake */
function makeMistake([truth, guess, number]) {
  const times = number > 1 ? `${number} × ` : "";
  if (guess === null) return element("li", { className: "missed", textContent: `${times}missed ${truth}` });
  if (truth === null) return element("li", { className: "invented", textContent: `${times}invented ${guess}` });
  return element("li", { className: "taken", textContent: `${times}${truth} taken for ${guess}` });
}

function listenToPictureTools() {
  const showToggles = () => {
    document.body.classList.toggle("no-overlay", !byId("overlay").checked);
    document.body.classList.toggle("no-tags", !byId("tags").checked);
  };
  byId("overlay").addEventListener("change", showToggles);
  byId("tags").addEventListener("change", showToggles);
  byId("opacity").addEventListener("input", () => document.documentElement.style.setProperty("--opacity", String(Number(byId("opacity").value) / 100)));
}
