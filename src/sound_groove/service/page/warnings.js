/** The warnings of an answer: which clip each one is about, and in which words. */

import { make } from "./elements.js";
import { known } from "./language.js";
import { whichClip } from "./refusals.js";

/** @typedef {{code: string, message: string}} Warning of the service */
/** @typedef {{kind: "warning" | "error", words: import("./elements.js").Words}} Note */

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
  return others.length > 0 ? [noteList(others.map(warningNote))] : [];
}

/**
 * A note in the words of the page where it knows the warning's code, else in those of the service.
 * @param {Warning} warning
 * @returns {Note}
 */
export function warningNote({ code, message }) {
  const text = `warning_${code}`;
  return { kind: "warning", words: known(text) ? { text } : { text: "as_said", values: { message } } };
}

/** @param {Note[]} notes */
export function noteList(notes) {
  const mark = (kind) => make("strong", { words: { text: `mark_${kind}` } });
  const item = ({ kind, words }) => make("li", { className: kind }, mark(kind), " ", make("span", { words }));
  return make("ul", { className: "notes" }, ...notes.map(item));
}
