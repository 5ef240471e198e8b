/** Which of the enrolled speaks in a clip, or nobody of them? */

import { ask } from "./client.js";
import { Clip, filesOf } from "./clip.js";
import { find, make } from "./elements.js";
import { Result } from "./result.js";
import { percent } from "./scale.js";
import { markedLines, shareRow } from "./share.js";
import { placeWarnings } from "./warnings.js";

const NAMES = ["audio"]; // the field of the form, by which the service calls the clip

/** @returns {(files: File[]) => boolean} takes a file that was dropped, where there is none yet */
export function beginIdentify() {
  const result = new Result(find("identify-result"), find("identify-ask"));
  const clip = new Clip({ text: "clip" }, { changed: () => result.clear() });
  find("identify-clips").append(clip.node);
  const asked = () => ({ clips: [clip], names: NAMES });
  result.answers(find("identify-form"), { text: "identifying" }, asked, (signal) => identify(clip, signal));
  return ([file]) => !clip.file && (clip.take([file]), true);
}

async function identify(clip, signal) {
  const form = new FormData();
  const [file] = filesOf([clip]);
  form.append("audio", file);
  const answer = await ask("v1/identify", { method: "POST", form, signal });
  clip.describe(answer.audio);
  return [answerNode(answer, placeWarnings(answer.warnings, [clip], NAMES))];
}

/**
 * @typedef {object} Identification as the service gives it
 * @property {"identified" | "nobody" | "inconclusive"} verdict
 * @property {string | null} speaker who was identified
 * @property {{name: string, score: number, probability: number | null}[]} candidates the nearest, best first
 * @property {number | null} nobody probability that nobody enrolled speaks
 * @property {number} prior probability that somebody enrolled speaks, before listening
 * @property {number} enrolled how many are
 */

/**
 * @param {Identification} answer
 * @param {Node[]} warnings those about the answer as a whole
 */
function answerNode(answer, warnings) {
  const { verdict, speaker, candidates, nobody, prior, enrolled } = answer;
  const said = enrolled === 0 ? { text: "nobody_enrolled" } : { text: `verdict_${verdict}`, values: { name: speaker } };
  const heading = make("h3", { className: `verdict ${verdict}`, words: said });
  heading.dataset.shared = "";
  if (enrolled === 0) return make("div", { className: "answer" }, heading, ...warnings);
  const unnamed = (text) => make("th", { scope: "row", className: "none", words: { text } });
  const named = (text) => make("th", { scope: "row", textContent: text });
  const rows = candidates.map(({ name, probability, score }) => row(named(name), probability, score));
  if (enrolled > candidates.length) rows.push(row(unnamed("row_rest"), restOf(candidates, nobody), null));
  rows.push(row(unnamed("row_nobody"), nobody, null));
  const column = (text) => make("th", { scope: "col", words: { text } });
  const values = { enrolled: String(enrolled), prior: percent(prior) };
  for (const row of rows) row.dataset.shared = "";
  const node = make("div", { className: `answer ${verdict}` }, heading, ...warnings,
    make("table", {},
      make("caption", { words: { text: "candidates", values } }),
      make("thead", {}, make("tr", {}, column("column_name"), column("column_probability"), column("column_score"))),
      make("tbody", {}, ...rows)),
    make("p", { className: "muted", words: { text: "not_detected" } }));
  node.append(shareRow("identify", answer, () => markedLines(node)));
  return node;
}

/** Probability of all the enrolled who are no candidates. */
function restOf(candidates, nobody) {
  if (nobody === null) return null;
  return Math.max(0, candidates.reduce((left, { probability }) => left - probability, 1 - nobody));
}

/** A candidate with its probability as a number and as a line. */
function row(header, probability, score) {
  const cell = make("td", { className: "share" });
  if (probability !== null) {
    const line = make("span", { className: "share-line", "aria-hidden": "true" });
    line.style.transform = `scaleX(${probability})`;
    cell.append(make("span", { textContent: percent(probability) }), make("span", { className: "share-track" }, line));
  } else cell.textContent = "-";
  return make("tr", {}, header, cell, make("td", { textContent: score === null ? "" : score.toFixed(3) }));
}
