/** Which of the enrolled speaks in a clip, or nobody of them? */

import { ask } from "./client.js";
import { Clip } from "./clip.js";
import { find, make } from "./elements.js";
import { Problem } from "./problems.js";
import { Result } from "./result.js";
import { percent } from "./verdict.js";
import { warningNodes, sortWarnings } from "./warnings.js";

const TOP = "5";

export function beginIdentify() {
  const result = new Result(find("identify-result"));
  const clip = new Clip({ text: "clip" }, { changed: () => result.clear() });
  find("identify-clips").append(clip.node);
  find("identify-form").addEventListener("submit", (event) => {
    event.preventDefault();
    result.work({ text: "identifying" }, async (signal) => {
      await clip.end();
      if (!clip.file) {
        clip.focus();
        throw new Problem("clip_missing", { clip: clip.title });
      }
      return identify(clip, signal);
    });
  });
}

async function identify(clip, signal) {
  const form = new FormData();
  form.append("audio", clip.file);
  form.append("top", TOP);
  const answer = await ask("v1/identify", { method: "POST", form, signal });
  const { ofClips, others } = sortWarnings(answer.warnings, 1);
  clip.describe(answer.audio);
  clip.warn(ofClips[0]);
  return [answerNode(answer, others)];
}

/**
 * @typedef {object} Identification as the service gives it
 * @property {"identified" | "nobody" | "inconclusive"} verdict
 * @property {{name: string, score: number, llr: number | null, probability: number | null}[]} candidates
 * @property {number | null} nobody probability that nobody enrolled speaks
 * @property {number} enrolled how many are
 */

/** @param {Identification} answer */
function answerNode({ verdict, candidates, nobody, enrolled }, warnings) {
  if (enrolled === 0) return make("p", { className: "verdict", words: { text: "nobody_to_find" } });
  const name = candidates[0]?.name ?? "";
  const heading = make("h3", { className: `verdict ${verdict}`, words: { text: `verdict_${verdict}`, values: { name } } });
  const rows = candidates.map(({ name, score, probability }) => row(make("th", { scope: "row", textContent: name }), probability, score));
  const none = row(make("th", { scope: "row", className: "none", words: { text: "row_nobody" } }), nobody, null);
  const column = (text) => make("th", { scope: "col", words: { text } });
  return make("div", { className: "answer" }, heading, ...warningNodes(warnings),
    make("table", {},
      make("caption", { words: { text: "candidates", values: { enrolled: String(enrolled) } } }),
      make("thead", {}, make("tr", {}, column("column_name"), column("column_probability"), column("column_score"))),
      make("tbody", {}, ...rows, none)),
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
