"use strict";
// Pages of pictures, loaded when a picture of theirs scrolls into view, and dropped later.

const PAGES_KEPT = 60;
const LOADS_AT_ONCE = 4;
const { version } = part(document, "script[data-version]", HTMLScriptElement).dataset;

/** @type {Map<number, (Picture | null)[]>} */
const pages = new Map(); // number -> pictures; the most recently used is last
/** @type {Set<number>} */
const unreadable = new Set();
/** @type {Set<number>} */
const loading = new Set();
/** @type {number[]} */
let wanted = [];
let whenPageComes = () => {};

/**
 * Load a script; those in order run one after the other, others as soon as they are loaded.
 * @param {string} path
 * @param {{ inOrder?: boolean }} how
 * @returns {Promise<void>}
 */
function loadScript(path, { inOrder = false } = {}) {
  return new Promise((resolve, reject) => {
    const script = element("script", { src: `${path}?v=${version}`, async: !inOrder });
    script.addEventListener("load", () => { script.remove(); resolve(); });
    script.addEventListener("error", () => { script.remove(); reject(new Error(`${path} cannot be read`)); });
    document.head.append(script);
  });
}

const pageOf = (/** @type {number} */ place) => Math.floor(place / table.head.page_size);
const numbered = (/** @type {string} */ name, /** @type {number} */ number) => `data/${name}-${String(number).padStart(5, "0")}.js`;

possam.page = (number, pictures) => {
  pages.set(number, pictures);
  for (const old of pages.keys()) {
    if (pages.size <= PAGES_KEPT) break;
    pages.delete(old);
  }
};

/**
 * The picture at a place, or null until its page is loaded.
 * @param {number} place
 */
function pictureAt(place) {
  const number = pageOf(place);
  const pictures = pages.get(number);
  if (!pictures) return null;
  pages.delete(number);
  pages.set(number, pictures);
  return pictures[place % table.head.page_size];
}

/**
 * Request the pages of these places, the first with the highest priority, and no others.
 * @param {number[]} places
 */
function wantPictures(places) {
  wanted = [...new Set(places.map(pageOf))].filter((number) => !pages.has(number) && !unreadable.has(number));
  loadWanted();
}

async function loadedWanted() {
  while (loading.size) await new Promise(requestAnimationFrame);
}

function loadWanted() {
  while (loading.size < LOADS_AT_ONCE) {
    const number = wanted.find((candidate) => !loading.has(candidate));
    if (number === undefined) return;
    wanted = wanted.filter((candidate) => candidate !== number);
    loading.add(number);
    loadScript(numbered("page", number))
      .catch(() => unreadable.add(number))
      .finally(() => { loading.delete(number); whenPageComes(); loadWanted(); });
  }
}
