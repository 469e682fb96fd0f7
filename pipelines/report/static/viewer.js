"use strict";
// The main script: reads the index, draws the page, handles events.

let order = new Uint32Array(0);
const STEP = 5; // of the opacity, in percent

function refresh() {
  const chosen = table.head.orders[Number(byId("order").value)];
  order = sortedRows(chosen, byId("direction").ariaPressed === "true");
  applyFilters(order);
  showCounts();
  drawCharts();
  showStatus();
  layOut();
}

function refilter() {
  grid.current = 0;
  scroller.scrollTop = Math.min(scroller.scrollTop, gridBox.offsetTop - byId("charts").offsetHeight - 60);
  refresh();
}

function showStatus() {
  const number = (/** @type {number} */ count) => count.toLocaleString("en-US");
  const { num_rows: numRows } = table.head;
  let text = `${number(result.rows.length)} of ${number(numRows)} images`;
  if (table.numRows < numRows) text = `reading the index: ${number(table.numRows)} of ${number(numRows)} images`;
  byId("status").textContent = text;
  byId("clear").hidden = !isFiltered();
}

function showOverview() {
  const { head } = table;
  const totals = definitions(head.totals);
  totals.className = "totals";
  /** @type {HTMLElement[]} */
  const parts = [element("p", { className: "path soft", textContent: head.subtitle }), totals];
  if (head.bar.length) {
    parts.push(element("div", { className: "meter", ariaHidden: "true" }, ...head.bar.map(([name, count]) => {
      const share = element("span", { className: `badge-${name}`, title: `${name}: ${count}` });
      share.style.flex = String(count);
      return share;
    })));
  }
  parts.push(...head.notes.map((text) => element("p", { className: "soft", textContent: text })));
  if (head.tables.length) parts.push(element("div", { className: "tables" }, ...head.tables.map(makeTable)));
  if (head.errors.length) parts.push(makeErrors(head.errors));
  parts.push(element("details", {}, element("summary", { textContent: "Where these labels come from" }), definitions(head.provenance)));
  byId("overview").replaceChildren(...parts);
}

/** @param {ErrorSummary[]} errors */
function makeErrors(errors) {
  const counts = errors.map(({ code, count }) => `${code} ${count.toLocaleString("en-US")}`).join(" · ");
  const items = errors.map(({ code, count, samples }) => {
    const show = element("button", { type: "button", textContent: "show" });
    show.addEventListener("click", () => {
      const value = table.facets.error.names.indexOf(code);
      filters.facets.set("error", new Set([value]));
      makeFacets();
      whenFiltersChange();
    });
    return element("li", {}, element("b", { textContent: `${code} · ${count.toLocaleString("en-US")} ` }), show,
      ...samples.map(([name, message]) => element("div", {}, element("span", { className: "path", textContent: name }), element("span", { className: "soft", textContent: ` ${message}` }))));
  });
  return element("details", {}, element("summary", { textContent: `Images without labels: ${counts}` }), element("ul", { className: "errors" }, ...items));
}

function makeOrders() {
  byId("order").append(...table.head.orders.map(({ label }, i) => element("option", { value: String(i), textContent: label })));
}

/** @param {number} percent */
function setOpacity(percent) {
  byId("opacity").value = String(percent);
  document.documentElement.style.setProperty("--opacity", String(Number(byId("opacity").value) / 100));
}

/** @param {"overlay" | "tags"} id */
function toggle(id) {
  byId(id).checked = !byId(id).checked;
  showToggles();
}

function showToggles() {
  document.body.classList.toggle("no-overlay", !byId("overlay").checked);
  document.body.classList.toggle("no-tags", !byId("tags").checked);
}

const linesOnScreen = () => Math.max(1, Math.floor(scroller.clientHeight / grid.rowPx));

/** @type {Record<string, () => void>} */
const KEYS = {
  ArrowLeft: () => goTo(grid.current - 1),
  ArrowRight: () => goTo(grid.current + 1),
  ArrowUp: () => goTo(grid.current - grid.columns),
  ArrowDown: () => goTo(grid.current + grid.columns),
  PageUp: () => goTo(grid.current - grid.columns * linesOnScreen()),
  PageDown: () => goTo(grid.current + grid.columns * linesOnScreen()),
  Home: () => goTo(0),
  End: () => goTo(grid.numListed - 1),
  Enter: openDetail,
  "/": () => byId("search").select(),
  o: () => toggle("overlay"),
  n: () => toggle("tags"),
  "[": () => setOpacity(Number(byId("opacity").value) - STEP),
  "]": () => setOpacity(Number(byId("opacity").value) + STEP),
  c: clearFilters,
  "?": () => byId("help").showModal(),
};

const MOVES = /^(Arrow|Page|Home|End)/;

/** @param {KeyboardEvent} event */
function onKey(event) {
  const { target } = event;
  if (event.ctrlKey || event.metaKey || event.altKey || byId("help").open || !(target instanceof Element)) return;
  if (target.matches("input[type=search], input[type=number], select")) {
    if (event.key === "Escape") gridBox.focus({ preventScroll: true });
    return;
  }
  const isPressed = event.key === "Enter" && target.matches("button, summary, input");
  const isSliding = target.matches("input[type=range]") && MOVES.test(event.key);
  if (isPressed || isSliding || !(event.key in KEYS)) return;
  event.preventDefault();
  KEYS[event.key]();
  if (detail.open && MOVES.test(event.key)) openDetail();
}

function listen() {
  whenFiltersChange = refilter;
  whenPageComes = () => { showPictures(); if (detail.open && detail.dataset.filled === "no") openDetail(); };
  document.addEventListener("keydown", onKey);
  byId("order").addEventListener("change", refilter);
  const button = byId("direction");
  button.addEventListener("click", () => {
    button.ariaPressed = String(button.ariaPressed !== "true");
    refilter();
  });
  byId("search").addEventListener("input", () => { filters.search = byId("search").value; refilter(); });
  byId("clear").addEventListener("click", clearFilters);
  byId("ask").addEventListener("click", KEYS["?"]);
  byId("overlay").addEventListener("change", showToggles);
  byId("tags").addEventListener("change", showToggles);
  byId("opacity").addEventListener("input", () => setOpacity(Number(byId("opacity").value)));
  gridBox.addEventListener("click", (event) => {
    const card = event.target instanceof Element && event.target.closest(".card");
    if (!(card instanceof HTMLElement)) return;
    goTo(Number(card.dataset.index));
    openDetail();
  });
  let isPainting = false;
  scroller.addEventListener("scroll", () => {
    if (isPainting) return;
    isPainting = true;
    requestAnimationFrame(() => { isPainting = false; paint(); });
  }, { passive: true });
  const observer = new ResizeObserver(paint);
  for (const box of [scroller, byId("overview"), gridBox]) observer.observe(box);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawCharts);
}

async function start() {
  makeOrders();
  showOverview();
  showToggles();
  setOpacity(Number(byId("opacity").value));
  listen();
  const files = Array.from({ length: table.head.num_index_files }, (_, number) => loadScript(numbered("index", number), { inOrder: true }));
  for (const [number, file] of files.entries()) {
    await file;
    if (number === 0) refresh(); // worth looking at while the others come
    else showStatus();
  }
  makeFacets();
  makeCharts();
  refresh();
  gridBox.focus({ preventScroll: true });
  document.body.dataset.state = "ready";
  await loadedWanted(); // the plotting library is large: pictures first
  await loadScript("viewer/plotly.min.js");
  drawCharts();
  document.body.dataset.state = "drawn";
}

start().catch((error) => { byId("status").textContent = error.message; });
