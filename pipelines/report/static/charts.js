"use strict";
// Histograms of measures; dragging across one keeps the images in that range.

const NUM_BINS = 40;
const NO_BIN = 255;
/** @type {Chart[]} */
const charts = [];

function makeCharts() {
  byId("charts").replaceChildren();
  for (const key of table.head.charts) {
    const figure = cloneOf("chart-template");
    const plot = /** @type {PlotElement} */ (part(figure, ".plot", HTMLElement));
    const measure = measureOf(key);
    /** @type {Chart} */
    const chart = { figure, plot, measure, bins: makeBins(measure), isWired: false };
    const select = part(figure, "select", HTMLSelectElement);
    select.append(...table.head.measures.map((m) => element("option", { value: m.key, textContent: m.label })));
    select.value = key;
    select.addEventListener("change", () => {
      filters.ranges.delete(chart.measure.key);
      chart.measure = measureOf(select.value);
      chart.bins = makeBins(chart.measure);
      showMeasure(chart);
      whenFiltersChange();
    });
    for (const input of figure.querySelectorAll("input")) {
      input.addEventListener("change", () => takeRange(chart, ...numbersOf(figure)));
    }
    charts.push(chart);
    byId("charts").append(figure);
    showMeasure(chart);
  }
}

/** @param {Chart} chart */
function showMeasure(chart) {
  const { measure, bins } = chart;
  chart.figure.dataset.measure = measure.key;
  part(chart.figure, ".missing", HTMLElement).textContent = bins.numMissing ? `${bins.numMissing.toLocaleString("en-US")} ${measure.if_missing}` : "";
  result.bins = new Map(charts.map(({ measure: m, bins: b }) => [m.key, b]));
}

/**
 * The bin of each row that has the measure; counts are whole numbers, so their bins are centred on them.
 * @param {Measure} measure
 * @returns {Bins}
 */
function makeBins(measure) {
  const { key, kind } = measure;
  const column = table.measures[key];
  let [low, high] = kind === "share" ? [0, 1] : [Infinity, -Infinity];
  for (const value of column) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  if (low > high) [low, high] = [0, 1];
  let width = (high - low) / NUM_BINS || 1;
  if (kind === "count") {
    width = Math.ceil((high - low + 1) / NUM_BINS);
    low -= 0.5;
  }
  const numBins = kind === "count" ? Math.ceil((high + 0.5 - low) / width) : NUM_BINS;
  const binOf = new Uint8Array(column.length).fill(NO_BIN);
  column.forEach((value, row) => {
    if (!Number.isNaN(value)) binOf[row] = Math.min(numBins - 1, Math.floor((value - low) / width));
  });
  const all = new Uint32Array(numBins);
  for (const bin of binOf) if (bin !== NO_BIN) all[bin]++;
  let numMissing = 0;
  column.forEach((_, row) => { numMissing += Number(isMissing(measure, row)); });
  return { low, width, binOf, all, numMissing, counts: new Uint32Array(numBins) };
}

/**
 * The range in the inputs of a figure; an empty input is an open end.
 * @param {HTMLElement} figure
 * @returns {Interval}
 */
function numbersOf(figure) {
  const read = (/** @type {string} */ name, /** @type {number} */ missing) => {
    const text = part(figure, name, HTMLInputElement).value;
    return text === "" ? missing : Number(text);
  };
  return [read(".low", -Infinity), read(".high", Infinity)];
}

/**
 * @param {Chart} chart
 * @param {number} low
 * @param {number} high
 */
function takeRange(chart, low, high) {
  const isOpen = low === -Infinity && high === Infinity;
  setFilter(filters.ranges, chart.measure.key, isOpen ? null : [low, high]);
}

function drawCharts() {
  for (const chart of charts) {
    const [low, high] = filters.ranges.get(chart.measure.key) ?? [-Infinity, Infinity];
    showNumber(part(chart.figure, ".low", HTMLInputElement), low);
    showNumber(part(chart.figure, ".high", HTMLInputElement), high);
    chart.figure.classList.toggle("chosen", filters.ranges.has(chart.measure.key));
    drawChart(chart, low, high);
  }
}

/**
 * @param {HTMLInputElement} input
 * @param {number} value
 */
function showNumber(input, value) {
  if (input === document.activeElement) return; // the user is typing
  input.value = Number.isFinite(value) ? String(value) : "";
}

/**
 * Draw, if Plotly is loaded.
 * @param {Chart} chart
 * @param {number} low
 * @param {number} high
 */
function drawChart(chart, low, high) {
  if (!window.Plotly) return;
  const { bins, plot, measure } = chart;
  const style = getComputedStyle(document.documentElement);
  const colour = (/** @type {string} */ name) => style.getPropertyValue(name).trim();
  const start = bins.low;
  const end = bins.low + bins.width * bins.all.length;
  const centres = Array.from(bins.all, (_, i) => start + (i + 0.5) * bins.width);
  const isKept = (/** @type {number} */ x) => x >= low && x <= high;
  const bars = (/** @type {string} */ name, /** @type {Uint32Array} */ counts, /** @type {string | string[]} */ colours) => ({
    type: "bar", name, x: centres, y: Array.from(counts), width: bins.width * 0.94,
    marker: { color: colours }, selected: { marker: { opacity: 1 } }, unselected: { marker: { opacity: 1 } },
    hovertemplate: `%{y:,} ${name}<extra></extra>`,
  });
  const font = { color: colour("--soft"), size: 11 };
  const axis = { gridcolor: colour("--line"), zeroline: false, fixedrange: true, tickfont: font };
  const edges = filters.ranges.has(measure.key)
    ? [Math.max(low, start), Math.min(high, end)].map((x) => ({
      type: "line", x0: x, x1: x, y0: 0, y1: 1, yref: "paper", line: { color: colour("--accent"), width: 1.5 },
    }))
    : [];
  const kept = Array.from(bins.counts, (_, i) => (isKept(centres[i]) ? colour("--accent") : colour("--pale")));
  window.Plotly.react(plot, [bars("in all", bins.all, colour("--faint")), bars("match", bins.counts, kept)], {
    barmode: "overlay", bargap: 0, showlegend: false, height: 130, margin: { l: 38, r: 8, t: 6, b: 22 },
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font,
    xaxis: { ...axis, range: [start, end], showgrid: false },
    yaxis: { ...axis, rangemode: "tozero", nticks: 4 },
    dragmode: "select", selectdirection: "h", selections: [], shapes: edges, hovermode: "x",
    hoverlabel: { font: { size: 11 } },
  }, { displayModeBar: false, responsive: true });
  if (!chart.isWired) wireChart(chart);
}

/** @param {Chart} chart */
function wireChart(chart) {
  chart.isWired = true;
  chart.plot.on("plotly_selected", (event) => {
    if (!event?.range?.x) return;
    const [low, high] = event.range.x.map((x) => Number(x)).sort((a, b) => a - b);
    const digits = chart.measure.kind === "share" ? 3 : 1;
    const isCount = chart.measure.kind === "count";
    const [first, last] = isCount ? [Math.ceil(low), Math.floor(high)] : [low, high].map((x) => Number(x.toFixed(digits)));
    setTimeout(() => takeRange(chart, first, last)); // after Plotly has finished with its event
  });
  chart.plot.on("plotly_deselect", () => setTimeout(() => takeRange(chart, -Infinity, Infinity)));
}
