"use strict";
// The filters: a search in names, values of facets, ranges of measures.

const MAX_VALUES = 100; // listed of one facet; a search finds the others
/** @type {Filters} */
const filters = { search: "", facets: new Map(), ranges: new Map() };
/** @type {Result} */
const result = { rows: new Uint32Array(0), facetCounts: new Map(), bins: new Map() };
/** @type {Map<string, Map<number, HTMLElement>>} */
const facetCounters = new Map(); // facet -> value -> element with its count
let whenFiltersChange = () => {};

/**
 * Choose a value for a key, or nothing.
 * @template V
 * @param {Map<string, V>} chosen
 * @param {string} key
 * @param {V | null} value
 */
function setFilter(chosen, key, value) {
  if (value === null) chosen.delete(key);
  else chosen.set(key, value);
  whenFiltersChange();
}

function clearFilters() {
  filters.search = byId("search").value = "";
  filters.facets.clear();
  filters.ranges.clear();
  for (const box of byId("facets").querySelectorAll("input")) box.checked = false;
  whenFiltersChange();
}

const isFiltered = () => Boolean(filters.search || filters.facets.size || filters.ranges.size);

function activeTests() {
  /** @type {{ key: string | null, keeps: (row: number) => boolean }[]} */
  const tests = [];
  const needle = filters.search.toLowerCase();
  if (needle) tests.push({ key: null, keeps: (row) => table.names[row].toLowerCase().includes(needle) });
  for (const [key, chosen] of filters.facets) {
    const { starts, values } = table.facets[key];
    tests.push({
      key,
      keeps: (row) => {
        for (let i = starts[row]; i < starts[row + 1]; i++) if (chosen.has(values[i])) return true;
        return false;
      },
    });
  }
  for (const [key, [low, high]] of filters.ranges) {
    const column = table.measures[key];
    tests.push({ key, keeps: (row) => column[row] >= low && column[row] <= high });
  }
  return tests;
}

/**
 * One pass. A facet or histogram counts the rows that all the *other* filters keep, so that its own
 * choice can still be changed.
 * @param {Uint32Array} order
 */
function applyFilters(order) {
  const tests = activeTests();
  const facets = Object.values(table.facets);
  const counts = new Map(facets.map((facet) => [facet.key, new Uint32Array(facet.names.length)]));
  for (const bin of result.bins.values()) bin.counts.fill(0);
  const rows = new Uint32Array(order.length);
  let numRows = 0;
  for (const row of order) {
    let numFailed = 0;
    let failed = null;
    for (const test of tests) {
      if (test.keeps(row)) continue;
      failed = test.key;
      if (++numFailed > 1) break;
    }
    if (numFailed > 1 || (numFailed === 1 && failed === null)) continue;
    if (numFailed === 0) rows[numRows++] = row;
    for (const facet of facets) {
      if (numFailed && failed !== facet.key) continue;
      const count = countsOf(counts, facet.key);
      for (let i = facet.starts[row]; i < facet.starts[row + 1]; i++) count[facet.values[i]]++;
    }
    for (const [key, bin] of result.bins) if (!numFailed || failed === key) countInBin(bin, row);
  }
  result.rows = rows.subarray(0, numRows);
  result.facetCounts = counts;
}

/**
 * The counts of each name of a facet.
 * @param {Map<string, Uint32Array>} counts
 * @param {string} facet
 */
function countsOf(counts, facet) {
  const found = counts.get(facet);
  if (!found) throw new Error(`there are no counts of ${facet}`);
  return found;
}

/**
 * @param {BinCounts} bin
 * @param {number} row
 */
function countInBin(bin, row) {
  const index = bin.binOf[row];
  if (index !== NO_BIN) bin.counts[index]++;
}

function makeFacets() {
  byId("facets").replaceChildren(...Object.values(table.facets).map(makeFacet));
}

/** @param {Facet} facet */
function makeFacet(facet) {
  const list = element("ul");
  const totals = countsOf(result.facetCounts, facet.key);
  const values = Array.from(facet.names.keys()).filter((value) => totals[value] > 0);
  if (!facet.is_ordered) values.sort((a, b) => totals[b] - totals[a]);
  const heading = element("h2", { textContent: facet.label });
  const box = element("section", { className: "facet" }, heading, list);
  box.dataset.facet = facet.key;
  box.hidden = values.length === 0;
  const fill = (/** @type {string} */ needle) => {
    const chosen = filters.facets.get(facet.key) ?? new Set();
    const matches = values.filter((value) => chosen.has(value) || facet.names[value].toLowerCase().includes(needle));
    /** @type {Map<number, HTMLElement>} */
    const counters = new Map();
    facetCounters.set(facet.key, counters);
    list.replaceChildren(...matches.slice(0, MAX_VALUES).map((value) => makeValue(facet, value, counters)));
    if (matches.length > MAX_VALUES) list.append(element("li", { className: "soft", textContent: `and ${matches.length - MAX_VALUES} more` }));
    showCounts();
  };
  if (values.length > 12) {
    const search = element("input", { type: "search", placeholder: `find among ${values.length}`, ariaLabel: `Find ${facet.label}` });
    search.addEventListener("input", () => fill(search.value.toLowerCase()));
    heading.after(search);
  }
  fill("");
  return box;
}

/**
 * @param {Facet} facet
 * @param {number} value
 * @param {Map<number, HTMLElement>} counters
 */
function makeValue(facet, value, counters) {
  const box = element("input", { type: "checkbox", checked: filters.facets.get(facet.key)?.has(value) ?? false });
  const count = element("span", { className: "count" });
  counters.set(value, count);
  box.addEventListener("change", () => {
    const chosen = new Set(filters.facets.get(facet.key));
    if (box.checked) chosen.add(value);
    else chosen.delete(value);
    setFilter(filters.facets, facet.key, chosen.size ? chosen : null);
  });
  const name = element("span", { className: "value", textContent: facet.names[value] });
  name.title = facet.names[value];
  return element("li", {}, element("label", {}, box, name, count));
}

function showCounts() {
  for (const [key, counters] of facetCounters) {
    const counts = countsOf(result.facetCounts, key);
    for (const [value, counter] of counters) {
      counter.textContent = counts[value].toLocaleString("en-US");
      counter.closest("li")?.classList.toggle("none", counts[value] === 0);
    }
  }
}
