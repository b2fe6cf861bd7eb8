// Elements out of data: no text ever becomes HTML here.

/**
 * @param {string} tag
 * @param {Record<string, any>} [properties]  of the element; `aria-…` and `scope` are attributes
 * @param {...(Node | string)} children
 */
export function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("aria-") || name === "scope") element.setAttribute(name, value);
    else Object.assign(element, { [name]: value });
  }
  element.append(...children);
  return element;
}

/** @param {string} id @returns {any} */
export const at = (id) => document.getElementById(id);

/**
 * A table, or a sentence where it has no row. The first cell of a row is its heading. Where nothing
 * changed the page is left alone, and with it what has the focus.
 * @param {HTMLElement} place @param {string} caption
 * @param {string[]} heads @param {(string | Node)[][]} rows @param {string} empty
 */
export function table(place, caption, heads, rows, empty) {
  const text = (/** @type {string | Node} */ cell) =>
    typeof cell === "string" ? cell : cell.textContent ?? "";
  const signature = JSON.stringify(rows.map((row) => row.map(text)));
  if (place.dataset.signature === signature) return;
  place.dataset.signature = signature;
  if (rows.length === 0) return place.replaceChildren(el("p", { className: "empty" }, empty));
  const head = el("tr", {}, ...heads.map((name) => el("th", { scope: "col" }, name)));
  const body = rows.map(([first, ...rest]) =>
    el("tr", {}, el("th", { scope: "row" }, first), ...rest.map((cell) => el("td", {}, cell))),
  );
  const made = el(
    "table", {},
    el("caption", { className: "unseen" }, caption),
    el("thead", {}, head),
    el("tbody", {}, ...body),
  );
  place.replaceChildren(made);
}
