/** The warnings of an answer: which clip each one is about, and in which words. */

import { make } from "./elements.js";
import { known } from "./language.js";
import { whichClip } from "./refusals.js";

/** @typedef {{code: string, message: string}} Warning */

/**
 * Show the warnings at the clips that they are about.
 * @param {Warning[]} warnings of an answer
 * @param {import("./clip.js").Clip[]} clips that were sent
 * @param {string[]} names under which they were
 * @returns {Node[]} those about the answer as a whole
 */
export function placeWarnings(warnings, clips, names) {
  const place = ({ message }) => whichClip(message, names);
  clips.forEach((clip, index) => clip.warn(warnings.filter((warning) => place(warning) === index)));
  const others = warnings.filter((warning) => place(warning) === -1);
  return others.length > 0 ? [noteList(others.map((warning) => ({ kind: "warning", words: warningWords(warning) })))] : [];
}

/**
 * The words for a warning: the page's own where it knows the code, else the service's.
 * @param {Warning} warning
 */
export function warningWords({ code, message }) {
  const text = `warning_${code}`;
  return known(text) ? { text } : { text: "as_said", values: { message } };
}

/** @param {{kind: "warning" | "error", words: import("./elements.js").Words}[]} notes */
export function noteList(notes) {
  const mark = (kind) => make("strong", { words: { text: `mark_${kind}` } });
  const item = ({ kind, words }) => make("li", { className: kind }, mark(kind), " ", make("span", { words }));
  return make("ul", { className: "notes" }, ...notes.map(item));
}
