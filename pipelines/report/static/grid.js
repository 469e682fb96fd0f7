"use strict";
// The cards in view. Only those exist, so a long list scrolls as fast as a short one.

const GAP_PX = 14;
const MIN_PANEL_PX = 240;
const MIN_CARD_PX = 264; // wide enough for the facts of a report
const TEXT_PX = 74; // below the picture of a card
const MAX_CHIPS = 12; // in the legend of a card, which shows one line
const MAX_HEIGHT_PX = 15_000_000; // browsers limit the height of an element
const grid = {
  columns: 1,
  rowPx: 1,
  width: NaN, // not laid out yet
  current: 0,
  cards: /** @type {Map<number, HTMLElement>} */ (new Map()),
  numListed: 0,
  firstInView: 0,
  isCurrentInView: false,
  isScrolledTo: false,
};
const scroller = byId("scroll");
const gridBox = byId("grid");

// Lay the result out again, from the top or around the current card.
function layOut() {
  const numPanels = table.head.panels.length;
  const width = gridBox.clientWidth;
  grid.width = width;
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

/** @param {number} index */
function addCard(index) {
  const row = result.rows[index];
  const card = cloneOf("card-template");
  card.id = `card-${index}`;
  card.dataset.index = String(index);
  card.ariaSetSize = String(result.rows.length);
  card.ariaPosInSet = String(index + 1);
  card.ariaSelected = String(index === grid.current);
  card.style.setProperty("--x", `calc((var(--card-w) + ${GAP_PX}px) * ${index % grid.columns})`);
  card.style.setProperty("--y", `${Math.floor(index / grid.columns) * grid.rowPx}px`);
  const name = part(card, ".name", HTMLElement);
  name.textContent = table.names[row].split("/").pop() || table.names[row];
  name.title = uriOf(row);
  part(card, "h2", HTMLElement).append(...badgesOf(row));
  part(card, ".facts", HTMLElement).textContent = factsOf(row);
  part(card, ".panels", HTMLElement).append(...makePanels(row));
  if (table.head.chips) part(card, ".legend", HTMLElement).append(...namesOf(table.head.chips, row).map((text) => element("li", { textContent: text })));
  gridBox.append(card);
  grid.cards.set(index, card);
}

/** @param {number} row */
function badgesOf(row) {
  const badges = table.head.badges.flatMap((key) => namesOf(key, row).map((name) => element("span", {
    className: `badge badge-${name}`, textContent: name, title: `${table.facets[key].label}: ${name}`,
  })));
  return badges.flatMap((badge, i) => (i ? ["→", badge] : [badge])); // more than one only from run to run
}

/** @param {number} row */
function factsOf(row) {
  const facts = table.head.facts.filter(([key]) => !Number.isNaN(table.measures[key][row]));
  return facts.map(([key, text]) => {
    const fact = text.replace("{}", formatValue(measureOf(key), table.measures[key][row]));
    return fact.replace(/^1 segments/, "1 segment");
  }).join(" · ");
}

/** @param {number} row */
function makePanels(row) {
  const messages = table.messages.get(row);
  const otherwise = table.picture[row] === NO_PICTURE ? "listed without a picture" : "";
  return table.head.panels.map((label, i) => {
    const panel = cloneOf("panel-template");
    const panelName = part(panel, ".panel-name", HTMLElement);
    panelName.textContent = label;
    panelName.hidden = !label;
    note(panel, messages ? messages[i] : otherwise);
    return panel;
  });
}

/**
 * @param {Element} panel
 * @param {string} text
 */
function note(panel, text) {
  const box = part(panel, ".note", HTMLElement);
  box.textContent = text;
  box.hidden = !text;
}

// Fill the cards whose pages are loaded, and request the other pages.
function showPictures() {
  /** @type {[index: number, place: number][]} */
  const missing = [];
  for (const [index, card] of grid.cards) {
    const row = result.rows[index];
    const place = table.picture[row];
    if (place === NO_PICTURE || card.dataset.filled) continue;
    const picture = pictureAt(place);
    if (picture) {
      card.dataset.filled = "yes";
      fillPanels(card, row, picture);
      if (!table.head.chips) part(card, ".legend", HTMLElement).append(...picture.layers[0].segments.slice(0, MAX_CHIPS).map(chipOf));
    } else if (unreadable.has(pageOf(place))) {
      for (const panel of card.querySelectorAll(".panel")) note(panel, `${numbered("page", pageOf(place))} cannot be read`);
    } else {
      missing.push([index, place]);
    }
  }
  missing.sort(([a], [b]) => a - b);
  wantPictures(missing.map(([, place]) => place));
}

/**
 * @param {HTMLElement} box
 * @param {number} row
 * @param {Picture} picture
 */
function fillPanels(box, row, picture) {
  box.querySelectorAll(".panel").forEach((panel, i) => {
    const layer = picture.layers[i];
    const photo = part(panel, ".photo", HTMLImageElement);
    part(panel, ".picture", HTMLElement).style.setProperty("--ratio", String(picture.ratio));
    setImage(photo, picture.photo);
    photo.alt = table.names[row];
    setImage(part(panel, ".overlay", HTMLImageElement), layer.overlay);
    if (!picture.photo) note(panel, "the image can no longer be read");
    part(panel, ".name-tags", HTMLElement).append(...layer.tags.map(([x, y, text]) => nameTag(x, y, text)));
  });
}

/**
 * @param {HTMLImageElement} image
 * @param {string | null} source
 */
function setImage(image, source) {
  if (!source) return;
  image.src = source;
  image.hidden = false;
}

/** @param {Segment} segment */
function chipOf([id, name, score, colour, isThing]) {
  const mark = element("i", {});
  mark.style.background = colour;
  const text = isThing ? `${id} ${name} ` : `${name} `;
  return element("li", { className: isThing ? "thing" : "stuff" }, mark, text, element("b", { textContent: score.toFixed(2) }));
}

/** @param {number} index */
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
