"use strict";
// The confusion heat map and the reliability curves, drawn by Plotly.

const CELL_PX = [11, 22]; // at least and at most; the map fits its box where it can
const MARGIN_PX = { l: 120, r: 70, t: 110, b: 14 };

const colour = (/** @type {string} */ name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function plotStyle() {
  const font = { color: colour("--soft"), size: 11 };
  return {
    font,
    axis: { gridcolor: colour("--line"), zeroline: false, fixedrange: true, tickfont: font },
    layout: { paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font, showlegend: false },
  };
}

/**
 * @param {EvaluationRecord} record
 * @param {boolean} onlyMistakes
 */
function drawConfusion({ classes: known, segment_pairs: pairs }, onlyMistakes) {
  /** @type {Map<string, number>} */
  const truths = new Map(); // name -> segments whose true class it is
  /** @type {Map<string, number>} */
  const guesses = new Map(); // name -> segments predicted as it
  const confused = new Set();
  for (const { true: truth, predicted, num } of pairs) {
    if (truth !== null) truths.set(truth, (truths.get(truth) ?? 0) + num);
    if (predicted !== null) guesses.set(predicted, (guesses.get(predicted) ?? 0) + num);
    if (truth !== null && predicted !== null && truth !== predicted) confused.add(truth).add(predicted);
  }
  const isShown = (/** @type {string} */ name) => (onlyMistakes ? confused.has(name) : truths.has(name) || guesses.has(name));
  const names = known.map(({ name }) => name).filter(isShown);
  const rows = [...names, INVENTED];
  const columns = [...names, MISSED];
  const shares = rows.map(() => columns.map(() => /** @type {Share} */ (null)));
  const counts = rows.map(() => columns.map(() => 0));
  const rowOf = new Map(rows.map((name, i) => [name, i]));
  const columnOf = new Map(columns.map((name, i) => [name, i]));
  for (const { true: truth, predicted, num } of pairs) {
    const [row, column] = [rowOf.get(truth ?? INVENTED), columnOf.get(predicted ?? MISSED)];
    if (row === undefined || column === undefined) continue;
    counts[row][column] += num;
    const whole = truth === null ? guesses.get(predicted ?? "") : truths.get(truth);
    shares[row][column] = counts[row][column] / (whole ?? NaN);
  }
  const style = plotStyle();
  const fitting = (byId("heat").clientWidth - MARGIN_PX.l - MARGIN_PX.r) / columns.length;
  const cellPx = Math.max(CELL_PX[0], Math.min(CELL_PX[1], Math.floor(fitting)));
  const side = cellPx * columns.length;
  const font = { ...style.font, size: Math.min(11, cellPx - 1) };
  const texts = rows.map((row, i) => columns.map((column, j) => `${row} → ${column}<br>${count(counts[i][j])} segments, ${percent(shares[i][j])} %`));
  const axis = { ...style.axis, tickfont: font, showgrid: true, tickson: "boundaries", dtick: 1, type: "category", constrain: "domain" };
  window.Plotly?.react(byId("heat"), [{
    type: "heatmap", z: shares, x: columns, y: rows, text: texts, hovertemplate: "%{text}<extra></extra>", hoverongaps: false,
    zmin: 0, zmax: 1, xgap: 1, ygap: 1,
    colorscale: [[0, colour("--faint")], [0.35, colour("--pale")], [1, colour("--accent")]],
    colorbar: { thickness: 10, x: 1, xpad: 8, tickformat: ".0%", outlinewidth: 0, tickfont: style.font },
  }], {
    ...style.layout, width: side + MARGIN_PX.l + MARGIN_PX.r, height: side + MARGIN_PX.t + MARGIN_PX.b, margin: MARGIN_PX,
    xaxis: { ...axis, side: "top", tickangle: -60, title: { text: "predicted", font: style.font, standoff: 2 } },
    yaxis: { ...axis, autorange: "reversed", title: { text: "true", font: style.font } },
  }, { displayModeBar: false });
}

/** @param {EvaluationRecord} record */
function drawCurves({ reliability, claims }) {
  const figures = Object.entries(reliability).map(([key, { ece, bins }]) => {
    const plot = element("div");
    const caption = element("figcaption", {}, claims[key], element("span", { textContent: `ECE ${percent(ece)} %, ${count(bins.reduce((sum, bin) => sum + bin.num, 0))} segments` }));
    return { figure: element("figure", { className: "curve" }, caption, plot), plot, bins };
  });
  byId("curves").replaceChildren(...figures.map(({ figure }) => figure));
  for (const { plot, bins } of figures) drawCurve(plot, bins);
}

/**
 * @param {HTMLElement} plot
 * @param {Bin[]} bins
 */
function drawCurve(plot, bins) {
  const style = plotStyle();
  const most = Math.max(1, ...bins.map((bin) => bin.num));
  const texts = bins.map((bin) => `claimed ${percent(bin.claimed)} %, true ${percent(bin.found)} %<br>${count(bin.num)} segments`);
  const hover = { text: texts, hovertemplate: "%{text}<extra></extra>" };
  window.Plotly?.react(plot, [
    { type: "bar", x: bins.map((bin) => (bin.low + bin.high) / 2), y: bins.map((bin) => 0.25 * bin.num / most), width: bins.map((bin) => 0.94 * (bin.high - bin.low)), marker: { color: colour("--faint") }, textposition: "none", ...hover },
    { type: "scatter", mode: "lines", x: [0, 1], y: [0, 1], line: { color: colour("--soft"), width: 1, dash: "dot" }, hoverinfo: "skip" },
    { type: "scatter", mode: "lines+markers", x: bins.map((bin) => bin.claimed), y: bins.map((bin) => bin.found), line: { color: colour("--accent"), width: 2 }, marker: { color: colour("--accent"), size: 6 }, ...hover },
  ], {
    ...style.layout, height: 300, margin: { l: 46, r: 10, t: 10, b: 42 },
    xaxis: { ...style.axis, range: [0, 1], tickformat: ".0%", title: { text: "claimed", font: style.font, standoff: 8 } },
    yaxis: { ...style.axis, range: [0, 1.02], tickformat: ".0%", title: { text: "true", font: style.font, standoff: 6 } },
  }, { displayModeBar: false, responsive: true });
}
