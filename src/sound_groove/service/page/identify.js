/** Which of the enrolled speaks in a clip, or nobody of them? */

import { ask } from "./client.js";
import { Clip, filesOf } from "./clip.js";
import { find, make } from "./elements.js";
import { Result } from "./result.js";
import { percent } from "./verdict.js";
import { placeWarnings } from "./warnings.js";

const NAMES = ["audio"]; // the field of the form, by which the service calls the clip

export function beginIdentify() {
  const result = new Result(find("identify-result"));
  const clip = new Clip({ text: "clip" }, { changed: () => result.clear() });
  find("identify-clips").append(clip.node);
  result.answers(find("identify-form"), { text: "identifying" }, [clip], NAMES, (signal) => identify(clip, signal));
}

async function identify(clip, signal) {
  const form = new FormData();
  const [file] = await filesOf([clip]);
  form.append("audio", file);
  const answer = await ask("v1/identify", { method: "POST", form, signal });
  clip.describe(answer.audio);
  return [answerNode(answer, placeWarnings(answer.warnings, [clip], NAMES))];
}

/**
 * @typedef {object} Identification as the service gives it
 * @property {"identified" | "nobody" | "inconclusive"} verdict
 * @property {{name: string, score: number, llr: number | null, probability: number | null}[]} candidates
 * @property {number | null} nobody probability that nobody enrolled speaks
 * @property {number | null} rest probability of the enrolled who are no candidates, together
 * @property {number} enrolled how many are
 */

/** @param {Identification} answer */
function answerNode({ verdict, candidates, nobody, rest, enrolled }, warnings) {
  if (enrolled === 0) return make("p", { className: "verdict", words: { text: "nobody_to_find" } });
  const name = candidates[0]?.name ?? "";
  const heading = make("h3", { className: `verdict ${verdict}`, words: { text: `verdict_${verdict}`, values: { name } } });
  const rows = candidates.map(({ name, score, probability }) => row(make("th", { scope: "row", textContent: name }), probability, score));
  const unnamed = (text) => make("th", { scope: "row", className: "none", words: { text } });
  if (enrolled > candidates.length) rows.push(row(unnamed("row_rest"), rest, null));
  rows.push(row(unnamed("row_nobody"), nobody, null));
  const column = (text) => make("th", { scope: "col", words: { text } });
  return make("div", { className: "answer" }, heading, ...warnings,
    make("table", {},
      make("caption", { words: { text: "candidates", values: { enrolled: String(enrolled) } } }),
      make("thead", {}, make("tr", {}, column("column_name"), column("column_probability"), column("column_score"))),
      make("tbody", {}, ...rows)),
    make("p", { className: "muted", words: { text: "not_detected" } }));
}

/** A candidate with its probability as a number and as a line. */
function row(header, probability, score) {
  const cell = make("td", { className: "share" });
  if (probability !== null) {
    const line = make("span", { className: "share-line", "aria-hidden": "true" });
    line.style.transform = `scaleX(${probability.toFixed(4)})`;
    cell.append(make("span", { textContent: percent(probability) }), make("span", { className: "share-track" }, line));
  } else cell.textContent = "-";
  return make("tr", {}, header, cell, make("td", { textContent: score === null ? "" : score.toFixed(3) }));
}
