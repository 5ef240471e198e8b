/** Elements of the page, and the words on them. */

import { say, sayLabel } from "./language.js";

/**
 * @typedef {{text: string, values?: Object<string, string | Words>}} Words a key of texts.js and what goes into it
 */

/**
 * Make an element.
 * @param {string} tag
 * @param {{words?: Words, label?: Words} & Object<string, unknown>} properties `words` are its text, `label` names it
 *     for those who do not see it, all else are its own properties
 * @param {...(Node | string)} children
 */
export function make(tag, { words, label, ...properties } = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("aria-") || name === "role") node.setAttribute(name, String(value));
    else node[name] = value;
  }
  if (words) say(node, words);
  if (label) sayLabel(node, label);
  node.append(...children);
  return node;
}

/** The element with this id, which index.html has. */
export function find(id) {
  const node = document.getElementById(id);
  if (!node) throw new Error(`index.html has no element '${id}'`);
  return node;
}

/** A number that no other call has had, for ids. */
export function fresh() {
  count += 1;
  return count;
}
let count = 0;
