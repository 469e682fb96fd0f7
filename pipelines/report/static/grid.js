"use strict";
// The cards in view. Only those exist, so a long list scrolls as a short one does.

const GAP_PX = 14;
const MIN_PANEL_PX = 240;
const MIN_CARD_PX = 264; // the facts of a report fit
const TEXT_PX = 74; // below the picture of a card
const MAX_CHIPS = 12; // in the legend of a card, which shows one line
const MAX_HEIGHT_PX = 15_000_000; // browsers lay out no more
const grid = { columns: 1, rowPx: 1, current: 0, cards: new Map(), numListed: 0 };
const scroller = byId("scroll");
const gridBox = byId("grid");

// Lay the result out again, from the top or around the current card.
function layOut() {
  const numPanels = table.head.panels.length;
  const width = grid.width = gridBox.clientWidth;
  grid.columns = Math.max(1, Math.floor((width + GAP_PX) / (Math.max(MIN_CARD_PX, MIN_PANEL_PX * numPanels) + GAP_PX)));
  const cardPx = (width - GAP_PX * (grid.columns - 1)) / grid.columns;
  const boxPx = Math.round((cardPx / numPanels) * 0.75);
  grid.rowPx = boxPx + TEXT_PX + GAP_PX;
  grid.numListed = Math.min(result.rows.length, Math.floor(MAX_HEIGHT_PX / grid.rowPx) * grid.columns);
  gridBox.style.setProperty("--card-w", `${cardPx}px`);
  gridBox.style.setProperty("--card-h", `${boxPx + TEXT_PX}px`);
  gridBox.style.setProperty("--box-h", `${boxPx}px`);
  gridBox.style.height = `${Math.ceil(grid.numListed / grid.columns) * grid.rowPx}px`;
  grid.current = Math.max(0, Math.min(grid.current, grid.numListed - 1));
  for (const card of grid.cards.values()) card.remove();
  grid.cards.clear();
  paint();
}

// Lay out for another width with the same images in view.
function fitWidth() {
  const { firstInView, isCurrentInView, isScrolledTo } = grid;
  layOut();
  if (!isScrolledTo) return;
  if (isCurrentInView) goTo(grid.current);
  else scroller.scrollTop = gridBox.offsetTop + Math.floor(firstInView / grid.columns) * grid.rowPx;
}

function paint() {
  if (gridBox.clientWidth !== grid.width) {
    fitWidth();
    return;
  }
  const top = scroller.scrollTop - gridBox.offsetTop;
  const currentLine = Math.floor(grid.current / grid.columns) * grid.rowPx - top;
  grid.isScrolledTo = top > 0;
  grid.isCurrentInView = currentLine > -grid.rowPx && currentLine < scroller.clientHeight;
  grid.firstInView = Math.max(0, Math.floor(top / grid.rowPx) * grid.columns);
  const firstLine = Math.max(0, Math.floor(top / grid.rowPx) - 1);
  const lastLine = Math.floor((top + scroller.clientHeight) / grid.rowPx) + 1;
  const first = firstLine * grid.columns;
  const last = Math.min(grid.numListed, (lastLine + 1) * grid.columns);
  for (const [index, card] of grid.cards) {
    if (index >= first && index < last) continue;
    card.remove();
    grid.cards.delete(index);
  }
  for (let index = first; index < last; index++) {
    if (!grid.cards.has(index)) addCard(index);
  }
  showPictures();
}

function addCard(index) {
  const row = result.rows[index];
  const card = cloneOf("card-template");
  card.id = `card-${index}`;
  card.dataset.index = index;
  card.ariaSetSize = result.rows.length;
  card.ariaPosInSet = index + 1;
  card.ariaSelected = String(index === grid.current);
  card.style.setProperty("--x", `calc((var(--card-w) + ${GAP_PX}px) * ${index % grid.columns})`);
  card.style.setProperty("--y", `${Math.floor(index / grid.columns) * grid.rowPx}px`);
  const name = card.querySelector(".name");
  name.textContent = table.names[row].split("/").pop() || table.names[row];
  name.title = uriOf(row);
  card.querySelector("h2").append(...badgesOf(row));
  card.querySelector(".facts").textContent = factsOf(row);
  card.querySelector(".panels").append(...makePanels(row));
  if (table.head.chips) card.querySelector(".legend").append(...namesOf(table.head.chips, row).map((text) => element("li", { textContent: text })));
  gridBox.append(card);
  grid.cards.set(index, card);
}

function badgesOf(row) {
  const badges = table.head.badges.flatMap((key) => namesOf(key, row).map((name) => element("span", {
    className: `badge badge-${name}`, textContent: name, title: `${table.facets[key].label}: ${name}`,
  })));
  return badges.flatMap((badge, i) => (i ? ["→", badge] : [badge])); // more than one only from run to run
}

function factsOf(row) {
  const facts = table.head.facts.filter(([key]) => !Number.isNaN(table.measures[key][row]));
  return facts.map(([key, text]) => {
    const measure = table.head.measures.find((candidate) => candidate.key === key);
    const fact = text.replace("{}", formatValue(measure, table.measures[key][row]));
    return fact.replace(/^1 segments/, "1 segment");
  }).join(" · ");
}

function makePanels(row) {
  const messages = table.messages.get(row);
  const otherwise = table.picture[row] === NO_PICTURE ? "listed without a picture" : "";
  return table.head.panels.map((label, i) => {
    const panel = cloneOf("panel-template");
    const panelName = panel.querySelector(".panel-name");
    panelName.textContent = label;
    panelName.hidden = !label;
    note(panel, messages ? messages[i] : otherwise);
    return panel;
  });
}

function note(panel, text) {
  const box = panel.querySelector(".note");
  box.textContent = text;
  box.hidden = !text;
}

// Fill the cards whose pages have come, and ask for the other pages.
function showPictures() {
  const missing = [];
  for (const [index, card] of grid.cards) {
    const row = result.rows[index];
    const place = table.picture[row];
    if (place === NO_PICTURE || card.dataset.filled) continue;
    const picture = pictureAt(place);
    if (picture) {
      card.dataset.filled = "yes";
      fillPanels(card, row, picture);
      if (!table.head.chips) card.querySelector(".legend").append(...picture.layers[0].segments.slice(0, MAX_CHIPS).map(chipOf));
    } else if (unreadable.has(pageOf(place))) {
      card.querySelectorAll(".panel").forEach((panel) => note(panel, `${numbered("page", pageOf(place))} cannot be read`));
    } else {
      missing.push([index, place]);
    }
  }
  missing.sort(([a], [b]) => a - b);
  wantPictures(missing.map(([, place]) => place));
}

function fillPanels(box, row, picture) {
  box.querySelectorAll(".panel").forEach((panel, i) => {
    const layer = picture.layers[i];
    const frame = panel.querySelector(".picture");
    frame.style.setProperty("--ratio", picture.ratio);
    setImage(panel.querySelector(".photo"), picture.photo);
    panel.querySelector(".photo").alt = table.names[row];
    setImage(panel.querySelector(".overlay"), layer.overlay);
    if (!picture.photo) note(panel, "the image can no longer be read");
    panel.querySelector(".name-tags").append(...layer.tags.map(([x, y, text]) => {
      const tag = element("span", { textContent: text });
      tag.style.setProperty("--x", `${x}%`);
      tag.style.setProperty("--y", `${y}%`);
      return tag;
    }));
  });
}

function setImage(image, source) {
  if (!source) return;
  image.src = source;
  image.hidden = false;
}

function chipOf([id, name, score, colour, isThing]) {
  const mark = element("i", {});
  mark.style.background = colour;
  const text = isThing ? `${id} ${name} ` : `${name} `;
  return element("li", { className: isThing ? "thing" : "stuff" }, mark, text, element("b", { textContent: score.toFixed(2) }));
}

function goTo(index) {
  if (!grid.numListed) return;
  const before = grid.cards.get(grid.current);
  if (before) before.ariaSelected = "false";
  grid.current = Math.max(0, Math.min(index, grid.numListed - 1));
  const top = gridBox.offsetTop + Math.floor(grid.current / grid.columns) * grid.rowPx;
  if (top < scroller.scrollTop) scroller.scrollTop = top - GAP_PX;
  const bottom = top + grid.rowPx;
  if (bottom > scroller.scrollTop + scroller.clientHeight) scroller.scrollTop = bottom - scroller.clientHeight;
  paint();
  const card = grid.cards.get(grid.current);
  if (card) card.ariaSelected = "true";
  gridBox.setAttribute("aria-activedescendant", `card-${grid.current}`);
}
