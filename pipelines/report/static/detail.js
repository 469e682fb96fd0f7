"use strict";
// The dialog of one image: large, with all its measures and segments.

const detail = byId("detail");

function openDetail() {
  const row = result.rows[grid.current];
  if (row === undefined) return;
  const frame = element("div", { className: "panels" });
  frame.append(...makePanels(row));
  const place = table.picture[row];
  const picture = place === NO_PICTURE ? null : pictureAt(place);
  if (picture) fillPanels(frame, row, picture);
  const close = element("button", { type: "button", textContent: "Close" });
  close.addEventListener("click", () => detail.close());
  const position = `${(grid.current + 1).toLocaleString("en-US")} of ${result.rows.length.toLocaleString("en-US")}`;
  detail.replaceChildren(
    element("header", {}, element("h2", { className: "name", textContent: uriOf(row) }, ...badgesOf(row)), element("span", { className: "soft", textContent: position }), close),
    element("div", { className: "columns" }, frame, element("div", { className: "about" }, ...aboutOf(row, picture))),
  );
  detail.dataset.filled = place === NO_PICTURE || picture ? "yes" : "no";
  if (!detail.open) detail.showModal();
}

/**
 * @param {number} row
 * @param {Picture | null} picture
 */
function aboutOf(row, picture) {
  const measures = table.head.measures.filter((m) => isMissing(m, row) || !Number.isNaN(table.measures[m.key][row]));
  /** @type {Fact[]} */
  const facts = measures.map((m) => [m.label, isMissing(m, row) ? m.if_missing : formatValue(m, table.measures[m.key][row])]);
  for (const facet of Object.values(table.facets)) {
    const names = namesOf(facet.key, row);
    if (names.length && facet.key !== "class") facts.push([facet.label, names.join(", ")]);
  }
  const message = (table.messages.get(row) ?? []).filter(Boolean).join(" · ");
  if (message) facts.push(["message", message]);
  const legends = (picture?.layers ?? []).map((layer, i) => element("section", {},
    element("h3", { textContent: [table.head.panels[i], countOf(layer.segments.length)].filter(Boolean).join(" · ") }),
    element("ul", { className: "legend" }, ...layer.segments.map(chipOf))));
  return [...legends, definitions(facts)];
}

const countOf = (/** @type {number} */ number) => (number === 1 ? "1 segment" : `${number} segments`);
