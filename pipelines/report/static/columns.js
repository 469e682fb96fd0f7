"use strict";
// The index: one entry an image in every column.
// The files in data/ call `possam.*`. Nothing is fetched, so the folder also opens from disk.

const possam = /** @type {Possam} */ ({}); // each page adds functions of its own
const LATER = /** @type {any} */ (null); // set by `possam.head`, before anything reads it
const NO_PICTURE = -1;
/** @type {Table} */
const table = { head: LATER, numRows: 0, names: [], measures: {}, facets: {}, messages: new Map(), picture: LATER };

possam.head = (head) => {
  table.head = head;
  for (const measure of head.measures) {
    table.measures[measure.key] = new Float64Array(head.num_rows).fill(NaN);
  }
  for (const facet of head.facets) {
    table.facets[facet.key] = { ...facet, starts: new Uint32Array(head.num_rows + 1), values: [] };
  }
  table.picture = new Int32Array(head.num_rows).fill(NO_PICTURE);
  head.pictures.forEach((row, place) => { table.picture[row] = place; });
};

possam.rows = (blocks) => blocks.forEach(addBlock);

/** @param {RowBlock} block */
function addBlock(block) {
  const first = table.numRows;
  for (const name of block.names) table.names.push(name);
  table.numRows += block.names.length;
  for (const [key, values] of Object.entries(block.measures)) {
    const column = table.measures[key];
    values.forEach((value, i) => { if (value !== null) column[first + i] = value; });
  }
  for (const [key, { counts, values }] of Object.entries(block.facets)) {
    const facet = table.facets[key];
    counts.forEach((count, i) => { facet.starts[first + i + 1] = facet.starts[first + i] + count; });
    for (const value of values) facet.values.push(value);
  }
  for (const [i, texts] of Object.entries(block.messages)) table.messages.set(first + Number(i), texts);
}

/**
 * The values of a facet in a row: positions in the facet's names.
 * @param {Facet} facet
 * @param {number} row
 */
function valuesOf(facet, row) {
  return facet.values.slice(facet.starts[row], facet.starts[row + 1]);
}

/**
 * @param {string} key
 * @param {number} row
 */
function namesOf(key, row) {
  const facet = table.facets[key];
  return valuesOf(facet, row).map((value) => facet.names[value]);
}

/** @param {number} row */
function uriOf(row) {
  const name = table.names[row];
  return /^([a-z0-9]+:\/\/|\/)/i.test(name) ? name : table.head.base + name;
}

/** @param {string} key */
function measureOf(key) {
  const measure = table.head.measures.find((candidate) => candidate.key === key);
  if (!measure) throw new Error(`there is no measure ${key}`);
  return measure;
}

/**
 * @param {Measure} measure
 * @param {number} value
 */
function formatValue(measure, value) {
  if (Number.isNaN(value)) return "–";
  if (measure.kind === "count") return value.toLocaleString("en-US");
  return measure.kind === "percent" ? `${value.toFixed(1)} %` : value.toFixed(2);
}

/**
 * Whether a row lacks a measure although its image is labelled, so has others.
 * @param {Measure} measure
 * @param {number} row
 */
function isMissing(measure, row) {
  const values = table.measures;
  return Boolean(measure.if_missing) && Number.isNaN(values[measure.key][row])
    && table.head.measures.some(({ key }) => !Number.isNaN(values[key][row]));
}

/** @type {Map<string, Uint32Array>} */
const orderCache = new Map();

/**
 * Rows of the whole index in an order; rows without a value come last in both directions.
 * @param {Order} order
 * @param {boolean} isTurned
 * @returns {Uint32Array}
 */
function sortedRows(order, isTurned) {
  const id = `${order.label} ${isTurned} ${table.numRows}`;
  const known = orderCache.get(id);
  if (known) return known;
  const columns = order.by.map(([key, sign]) => ({ column: sortColumn(key), sign: isTurned ? -sign : sign }));
  const rows = Uint32Array.from({ length: table.numRows }, (_, i) => i).sort((a, b) => {
    for (const { column, sign } of columns) {
      const difference = column[a] - column[b];
      if (difference) return sign * difference;
      const missing = Number(Number.isNaN(column[a])) - Number(Number.isNaN(column[b]));
      if (missing) return missing;
    }
    return a - b;
  });
  orderCache.set(id, rows);
  return rows;
}

/** @param {string} key */
function sortColumn(key) {
  if (table.measures[key]) return table.measures[key];
  const column = new Float64Array(table.numRows).fill(NaN);
  if (key === "name") {
    const rows = Array.from(table.names.keys()).sort((a, b) => (table.names[a] < table.names[b] ? -1 : 1));
    rows.forEach((row, rank) => { column[row] = rank; });
  } else {
    const { starts, values } = table.facets[key];
    const ranks = ranksOf(table.facets[key]);
    for (let row = 0; row < table.numRows; row++) {
      let least = NaN;
      for (let i = starts[row]; i < starts[row + 1]; i++) if (!(ranks[values[i]] >= least)) least = ranks[values[i]];
      column[row] = least;
    }
  }
  return column;
}

/**
 * The rank of each name of a facet: as listed, or alphabetical.
 * @param {FacetHead} facet
 */
function ranksOf({ names, is_ordered: isOrdered }) {
  const order = Array.from(names.keys());
  if (!isOrdered) order.sort((a, b) => (names[a] < names[b] ? -1 : 1));
  const ranks = new Float64Array(names.length);
  order.forEach((value, rank) => { ranks[value] = rank; });
  return ranks;
}

/**
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Partial<HTMLElementTagNameMap[T]>} properties
 * @param {(Node | string)[]} children
 * @returns {HTMLElementTagNameMap[T]}
 */
function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

/**
 * @template {keyof Elements} K
 * @param {K} id
 * @returns {Elements[K]}
 */
const byId = (id) => /** @type {any} */ (document.getElementById(id));

/**
 * The first element in `box` that matches the selector.
 * @template {Element} T
 * @param {ParentNode} box
 * @param {string} selector
 * @param {new () => T} type
 * @returns {T}
 */
function part(box, selector, type) {
  const found = box.querySelector(selector);
  if (!(found instanceof type)) throw new Error(`the page has no ${selector}`);
  return found;
}

/** @param {{ [K in keyof Elements]: Elements[K] extends HTMLTemplateElement ? K : never }[keyof Elements]} id */
function cloneOf(id) {
  return /** @type {HTMLElement} */ (part(byId(id).content, "*", HTMLElement).cloneNode(true));
}

/**
 * A name at a point of a picture, in percent of its sides.
 * @param {number} x
 * @param {number} y
 * @param {string} text
 */
function nameTag(x, y, text) {
  const tag = element("span", { textContent: text });
  tag.style.setProperty("--x", `${x}%`);
  tag.style.setProperty("--y", `${y}%`);
  return tag;
}

/** @param {Fact[]} facts */
function definitions(facts) {
  return element("dl", { className: "facts" }, ...facts.map(([name, value]) => element("div", {},
    element("dt", { textContent: name }), element("dd", { textContent: value }))));
}

/** @param {TableContent} content */
function makeTable({ title, columns, rows }) {
  const line = (/** @type {"td" | "th"} */ tag, /** @type {string[]} */ cells) => element("tr", {}, ...cells.map((text) => element(tag, { textContent: text })));
  const body = element("tbody", {}, ...rows.map((cells) => line("td", cells)));
  return element("section", {}, element("h2", { textContent: title }),
    element("div", { className: "wide" }, element("table", {}, element("thead", {}, line("th", columns)), body)));
}
