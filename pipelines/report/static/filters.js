"use strict";
// What is kept: a search in names, values of facets, ranges of measures.

const MAX_VALUES = 100; // listed of one facet; a search finds the others
const filters = { search: "", facets: new Map(), ranges: new Map() };
const result = { rows: new Uint32Array(0), facetCounts: new Map(), bins: new Map() };
const facetCounters = new Map(); // facet -> value -> element with its count
let whenFiltersChange = () => {};

function setFilter(group, key, value) {
  if (value === null) filters[group].delete(key);
  else filters[group].set(key, value);
  whenFiltersChange();
}

function clearFilters() {
  filters.search = byId("search").value = "";
  filters.facets.clear();
  filters.ranges.clear();
  for (const box of byId("facets").querySelectorAll(":checked")) box.checked = false;
  whenFiltersChange();
}

const isFiltered = () => Boolean(filters.search || filters.facets.size || filters.ranges.size);

function activeTests() {
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

// One pass. A facet or histogram counts the rows that all the *other* filters keep, so that its own
// choice can still be changed.
function applyFilters(order) {
  const tests = activeTests();
  const facets = Object.values(table.facets);
  const counts = new Map(facets.map((facet) => [facet.key, new Uint32Array(facet.names.length)]));
  const bins = new Map([...result.bins].map(([key, { binOf, counts }]) => [key, { binOf, counts: counts.fill(0) }]));
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
      const count = counts.get(facet.key);
      for (let i = facet.starts[row]; i < facet.starts[row + 1]; i++) count[facet.values[i]]++;
    }
    for (const [key, bin] of bins) if (!numFailed || failed === key) countInBin(bin, row);
  }
  Object.assign(result, { rows: rows.subarray(0, numRows), facetCounts: counts, bins });
}

function countInBin(bin, row) {
  const index = bin.binOf[row];
  if (index !== NO_BIN) bin.counts[index]++;
}

function makeFacets() {
  byId("facets").replaceChildren(...Object.values(table.facets).map(makeFacet));
}

function makeFacet(facet) {
  const list = element("ul");
  const totals = result.facetCounts.get(facet.key);
  const values = Array.from(facet.names.keys()).filter((value) => totals[value] > 0);
  if (!facet.is_ordered) values.sort((a, b) => totals[b] - totals[a]);
  const heading = element("h2", { textContent: facet.label });
  const box = element("section", { className: "facet" }, heading, list);
  box.dataset.facet = facet.key;
  box.hidden = values.length === 0;
  const fill = (needle) => {
    const chosen = filters.facets.get(facet.key) ?? new Set();
    const matches = values.filter((value) => chosen.has(value) || facet.names[value].toLowerCase().includes(needle));
    facetCounters.set(facet.key, new Map());
    list.replaceChildren(...matches.slice(0, MAX_VALUES).map((value) => makeValue(facet, value)));
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

function makeValue(facet, value) {
  const box = element("input", { type: "checkbox", checked: filters.facets.get(facet.key)?.has(value) ?? false });
  const count = element("span", { className: "count" });
  facetCounters.get(facet.key).set(value, count);
  box.addEventListener("change", () => {
    const chosen = new Set(filters.facets.get(facet.key));
    if (box.checked) chosen.add(value);
    else chosen.delete(value);
    setFilter("facets", facet.key, chosen.size ? chosen : null);
  });
  const name = element("span", { className: "value", textContent: facet.names[value] });
  name.title = name.textContent;
  return element("li", {}, element("label", {}, box, name, count));
}

function showCounts() {
  for (const [key, counters] of facetCounters) {
    const counts = result.facetCounts.get(key);
    for (const [value, counter] of counters) {
      counter.textContent = counts[value].toLocaleString("en-US");
      counter.closest("li").classList.toggle("none", counts[value] === 0);
    }
  }
}
