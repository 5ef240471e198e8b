/** The warnings of an answer: which clip each one is about, and in which words. */

import { make } from "./elements.js";
import { known } from "./language.js";

const FIRST_WORDS = [
  [/^the (first )?recording: /, () => 0],
  [/^the second recording: /, () => 1],
  [/^recording (\d+): /, (number) => Number(number) - 1],
];

/**
 * Which clip a sentence of the service is about.
 * @param {string} sentence "the second recording: ...", "recording 3: ..."
 * @returns {number} from 0; -1 where it is about no single one
 */
export function whichClip(sentence) {
  for (const [pattern, place] of FIRST_WORDS) {
    const found = pattern.exec(sentence);
    if (found) return place(found[1]);
  }
  return -1;
}

/**
 * @typedef {{code: string, message: string}} Warning
 * @param {Warning[]} warnings of an answer
 * @param {number} count of the clips that were sent
 * @returns {{ofClips: Warning[][], others: Warning[]}}
 */
export function sortWarnings(warnings, count) {
  const ofClips = Array.from({ length: count }, () => []);
  const others = [];
  for (const warning of warnings) (ofClips[whichClip(warning.message)] ?? others).push(warning);
  return { ofClips, others };
}

/**
 * What is to be known about the answer as a whole.
 * @param {Warning[]} warnings
 * @returns {Node[]}
 */
export function warningNodes(warnings) {
  const item = (warning) =>
    make("li", { className: "warning" },
      make("strong", { words: { text: "mark_warning" } }), " ", make("span", { words: warningWords(warning) }));
  return warnings.length > 0 ? [make("ul", { className: "notes" }, ...warnings.map(item))] : [];
}

/**
 * The words for a warning: the page's own where it knows the code, else the service's.
 * @param {Warning} warning
 */
export function warningWords({ code, message }) {
  const text = `warning_${code}`;
  return known(text) ? { text } : { text: "as_said", values: { message } };
}
