"use strict";
// Figures and tables. The files in data/ call `possam.*`; columns.js makes elements.

const MISSED = "missed";
const INVENTED = "invented";
const MAX_MISTAKES = 30;

const percent = (/** @type {Share | undefined} */ share) => (share === null || share === undefined ? "–" : (100 * share).toFixed(1));
const count = (/** @type {number} */ number) => number.toLocaleString("en-US");

/** @param {EvaluationRecord} record */
function showFigures(record) {
  const { all, seen, unseen } = record.panoptic;
  /** @type {Fact[]} */
  const totals = [
    ["Images", count(record.num_images)],
    ["PQ", percent(all.pq)],
    .../** @type {Fact[]} */ (seen ? [["PQ seen", percent(seen.pq)], ["PQ unseen", percent(unseen.pq)]] : []),
    .../** @type {Fact[]} */ (record.instances ? [["AP", percent(record.instances.ap)]] : []),
    .../** @type {Fact[]} */ (record.semantic ? [["mIoU", percent(record.semantic.all.miou)]] : []),
  ];
  const shown = definitions(totals);
  shown.className = "totals";
  byId("figures").replaceChildren(shown,
    element("p", { className: "soft", textContent: "All figures in percent; classes that neither occur nor are predicted are left out of means. A dash: there is nothing to measure, or the model does not know it." }),
    element("div", { className: "tables" }, makeTable(groupTable(record)), ...(record.instances ? [makeTable(precisionTable(record.instances))] : [])),
    element("details", {}, element("summary", { textContent: "What was measured" }), definitions(provenance(record))));
}

/**
 * @param {EvaluationRecord} record
 * @returns {TableContent}
 */
function groupTable({ panoptic, semantic }) {
  return {
    title: "Groups of classes",
    columns: ["classes", "PQ", "SQ", "RQ", ...(semantic ? ["mIoU"] : []), "number"],
    rows: Object.entries(panoptic).map(([name, q]) => [
      name, ...[q.pq, q.sq, q.rq].map((share) => percent(q.num_classes ? share : null)), ...(semantic ? [percent(semantic[name].miou)] : []), String(q.num_classes),
    ]),
  };
}

/**
 * @param {Record<string, Share>} instances
 * @returns {TableContent}
 */
function precisionTable(instances) {
  const names = { ap: "0.50 to 0.95", ap50: "0.50", ap75: "0.75", small: "small things", medium: "medium things", large: "large things" };
  return { title: "Average precision of things", columns: ["IoU", "AP"], rows: Object.entries(names).map(([key, name]) => [name, percent(instances[key])]) };
}

/**
 * @param {EvaluationRecord} record
 * @returns {Fact[]}
 */
function provenance({ run, model, data, vocabulary, calibration, ...record }) {
  const of = data.source === "playground" ? `${data.world}: ${data.num_scenes} scenes of seed ${data.scene_seed}` : `${data.annotations}, images in ${data.images}`;
  /** @type {Fact[]} */
  const facts = [
    ["Model", `${model.name} (sha256 ${model.sha256})`],
    ["Data", data.limit ? `${of}; the first ${data.limit}` : of],
    ["Vocabulary", `${vocabulary.name}, ${vocabulary.num_classes} classes (sha256 ${vocabulary.sha256})`],
  ];
  if (calibration) facts.push(["Calibration", calibration.expected_pq === null ? "none in the checkpoint" : `temperature ${calibration.temperature.toFixed(3)}`]);
  if (run) {
    facts.unshift(["Run", run]);
    facts.push(["Without labels", count(record.num_errors ?? 0)], ["Left out", `${count(record.num_without_truth ?? 0)} without ground truth, ${count(record.num_without_row ?? 0)} not in the run`]);
  }
  return facts;
}

/** @param {EvaluationRecord} record */
function showGrades({ grades, uncalibrated }) {
  if (!grades.length) return;
  const rows = grades.map((g) => [g.grade, count(g.num_images), percent(g.quality.pq), percent(g.image_pq), percent(g.expected_pq)]);
  const notes = uncalibrated ? [element("p", { className: "soft", textContent: `not calibrated here: ${uncalibrated}. Nobody knows what these grades promise; the PQ is measured.` })] : [];
  byId("grades").replaceChildren(makeTable({ title: "What the grades were worth", columns: ["grade", "images", "PQ", "PQ of an image", "expected"], rows }), ...notes);
}

// The table of classes; a class that neither occurs nor is predicted comes last, however it is sorted.
/** @type {ClassColumn[]} */
const CLASS_COLUMNS = [
  { key: "name", label: "class" },
  { key: "kind", label: "kind" },
  { key: "seen", label: "seen", text: (seen) => (seen === null ? "–" : seen ? "seen" : "unseen") },
  ...(/** @type {const} */ (["pq", "sq", "rq", "iou", "ap"])).map((key) => ({ key, label: key === "iou" ? "IoU" : key.toUpperCase(), isShare: true })),
  { key: "tp", label: "matched", text: (number) => count(Number(number)) },
  { key: "fp", label: "invented", text: (number) => count(Number(number)) },
  { key: "fn", label: "missed", text: (number) => count(Number(number)) },
];
const classes = {
  rows: /** @type {ClassRecord[]} */ ([]),
  sortBy: /** @type {keyof ClassRecord} */ ("pq"),
  sign: 1,
};

// Runs have no IoU of pixels and no AP.
const shownColumns = () => CLASS_COLUMNS.filter(({ key }) => classes.rows.some((row) => row[key] !== undefined));

/** @param {EvaluationRecord} record */
function showClasses(record) {
  classes.rows = record.classes;
  const head = element("tr", {}, ...shownColumns().map(({ key, label }) => {
    const button = element("button", { type: "button", textContent: label });
    button.addEventListener("click", () => sortClasses(key));
    const cell = element("th", { scope: "col" }, button);
    cell.dataset.key = key;
    return cell;
  }));
  part(byId("class-table"), "thead", HTMLTableSectionElement).replaceChildren(head);
  byId("class-search").addEventListener("input", listClasses);
  listClasses();
}

/** @param {keyof ClassRecord} key */
function sortClasses(key) {
  const isText = typeof classes.rows[0]?.[key] === "string";
  classes.sign = classes.sortBy === key ? -classes.sign : isText ? 1 : -1;
  classes.sortBy = key;
  listClasses();
}

/**
 * @param {ClassRecord} a
 * @param {ClassRecord} b
 */
function compareClasses(a, b) {
  const [x, y] = [a[classes.sortBy] ?? null, b[classes.sortBy] ?? null];
  if (x === null || y === null) return Number(x === null) - Number(y === null) || (a.name < b.name ? -1 : 1);
  if (x !== y) return x < y ? -classes.sign : classes.sign;
  return a.name < b.name ? -1 : 1;
}

function listClasses() {
  const needle = byId("class-search").value.toLowerCase();
  const kept = classes.rows.filter(({ name }) => name.toLowerCase().includes(needle)).sort(compareClasses);
  for (const cell of byId("class-table").rows[0].cells) {
    if (cell.dataset.key === classes.sortBy) cell.ariaSort = classes.sign > 0 ? "ascending" : "descending";
    else cell.removeAttribute("aria-sort");
  }
  byId("class-table").tBodies[0].replaceChildren(...kept.map((row) => element("tr", {}, ...shownColumns().map((column) => classCell(row, column)))));
  byId("class-count").textContent = `${kept.length} of ${classes.rows.length} classes`;
}

/**
 * @param {ClassRecord} row
 * @param {ClassColumn} column
 */
function classCell(row, { key, text, isShare }) {
  const value = row[key];
  const cell = element("td", { textContent: isShare ? percent(/** @type {Share} */ (value)) : (text ?? String)(value) });
  if (isShare && value !== null) {
    cell.className = "share";
    cell.style.setProperty("--share", `${100 * Number(value)}%`);
  }
  if (value === null) cell.className = "none";
  return cell;
}

/** @param {EvaluationRecord} record */
function showMistakes({ mistakes }) {
  const fill = (/** @type {"taken" | "unmatched"} */ id, /** @type {(string | null)[][]} */ rows) => byId(id).tBodies[0].replaceChildren(...rows.slice(0, MAX_MISTAKES).map((cells) => element("tr", {},
    ...cells.map((text) => element("td", { textContent: text ?? "" })))));
  fill("taken", mistakes.filter(([truth, guess]) => truth !== null && guess !== null).map(([truth, guess, num]) => [truth, guess, count(num)]));
  fill("unmatched", mistakes.filter(([truth, guess]) => truth === null || guess === null)
    .map(([truth, guess, num]) => [truth ?? guess, guess === null ? MISSED : INVENTED, count(num)]));
}
