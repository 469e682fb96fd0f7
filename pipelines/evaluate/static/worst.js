"use strict";
// The worst images, truth beside prediction.

const PANELS = ["truth", "prediction"];

function showCards({ worst, num_images: numImages }) {
  byId("worst-note").textContent = worst.length
    ? `The ${worst.length} of ${count(numImages)} images with the lowest PQ of their own, the worst first: the truth on the left, what the model says on the right.`
    : "No image was asked for.";
  byId("cards").replaceChildren(...worst.map(makeCard));
}

function makeCard({ name, pq, grade, expected_pq: expected }) {
  const card = cloneOf("card-template");
  card.querySelector("h3").textContent = name;
  card.querySelector("h3").title = name;
  const facts = [`PQ ${percent(pq)}`, ...(expected === null ? [] : [`expected ${percent(expected)}`]), `grade ${grade}`];
  card.querySelector(".facts").textContent = facts.join(" · ");
  card.querySelector(".panels").append(...PANELS.map((label) => {
    const panel = cloneOf("panel-template");
    panel.querySelector(".panel-name").textContent = label;
    return panel;
  }));
  return card;
}

function fillCard(card, picture) {
  card.querySelectorAll(".panel").forEach((panel, i) => {
    const { overlay, tags } = picture.layers[i];
    panel.querySelector(".picture").style.setProperty("--ratio", picture.ratio);
    panel.querySelector(".photo").src = picture.photo;
    panel.querySelector(".photo").alt = `${card.querySelector("h3").textContent}, ${PANELS[i]}`;
    panel.querySelector(".overlay").src = overlay;
    panel.querySelector(".name-tags").append(...tags.map(([x, y, text]) => {
      const tag = element("span", { textContent: text.replace(/^\d+ /, "") });
      tag.style.setProperty("--x", `${x}%`);
      tag.style.setProperty("--y", `${y}%`);
      return tag;
    }));
  });
  card.querySelector(".mistakes").append(...picture.mistakes.map(makeMistake));
}

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
  byId("opacity").addEventListener("input", () => document.documentElement.style.setProperty("--opacity", byId("opacity").value / 100));
}
