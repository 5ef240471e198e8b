/** A comparison in words, numbers and a picture. */

import { make } from "./elements.js";
import { phrase } from "./language.js";
import { percent, scaleNode } from "./scale.js";
import { markedLines, shareRow } from "./share.js";

const GRADES = ["none", "weak", "moderate", "moderately strong", "strong", "very strong"];
const MOST_TIMES = 1_000_000;

/**
 * @typedef {object} Comparison as the service gives it
 * @property {number} score
 * @property {number | null} llr
 * @property {string | null} strength of the evidence, in the words of the service
 * @property {number | null} probability
 * @property {number} prior
 * @property {number | null} threshold
 * @property {[number, number]} limits llr: below the first the verdict is 'different', from the second on 'same'
 * @property {"same" | "different" | "inconclusive"} verdict
 * @property {{name: string, hash: string}} model
 * @property {number | null} collections how many the model was calibrated on
 * @property {{code: string, message: string}[]} warnings
 */

/**
 * @param {Comparison} comparison
 * @param {Node[]} warnings those about the two together
 * @param {import("./elements.js").Words[]} sides what was compared with what
 * @param {boolean} isNamed the second is somebody who is enrolled
 */
export function verdictNode(comparison, warnings, sides, isNamed) {
  const { verdict, probability } = comparison;
  const text = isNamed && verdict !== "inconclusive" ? `verdict_${verdict}_as` : `verdict_${verdict}`;
  const words = { text, values: { name: isNamed ? sides[1] : "" } };
  const parts = [shared(make("h3", { className: `verdict ${verdict}`, words }))];
  if (probability === null) parts.push(make("p", { words: { text: "no_probability" } }));
  else parts.push(evidenceLine(comparison), scaleNode(comparison), probabilityLine(comparison), timesLine(comparison));
  if (verdict === "inconclusive" && probability !== null) parts.push(whyLine(comparison));
  parts.push(...warnings.map(shared), collectionsLine(comparison), numbers(comparison),
    shared(make("p", { className: "muted", words: { text: "not_detected" } })));
  const node = make("div", { className: `answer ${verdict}` }, ...parts.filter(Boolean));
  const compared = () => phrase({ text: "compared", values: { one: sides[0], other: sides[1] } });
  const model = () => phrase({ text: "model_short", values: { name: comparison.model.name, hash: comparison.model.hash.slice(0, 12) } });
  node.append(shareRow("compare", comparison, () => [compared(), ...markedLines(node), model()]));
  return node;
}

/** Mark a part of the answer as one of those that are copied. */
function shared(node) {
  node.dataset.shared = "";
  return node;
}

function probabilityLine({ probability, prior }) {
  const values = { probability: percent(probability), prior: percent(prior) };
  return shared(make("p", { className: "probability", words: { text: prior === 0.5 ? "probability_even" : "probability", values } }));
}

/** How strong the evidence is, in words and as a row of five lights, and what it speaks for. */
function evidenceLine({ strength, llr }) {
  const text = strength === "none" ? "evidence_neither" : llr > 0 ? "evidence_same" : "evidence_different";
  const values = { strength: { text: `strength_${strength.replace(" ", "_")}` } };
  const grade = GRADES.indexOf(strength);
  const lights = GRADES.slice(1).map((_, place) => make("span", { className: place < grade ? "light on" : "light" }));
  return make("p", { className: "evidence" },
    make("span", { className: "lights", "aria-hidden": "true" }, ...lights), shared(make("span", { words: { text, values } })));
}

/** The likelihood ratio as one says it: so many times as likely from one speaker as from two. */
function timesLine({ llr }) {
  const times = timesOf(Math.abs(llr));
  const text = times === "1" ? "times_even" : llr > 0 ? "times_same" : "times_different";
  return shared(make("p", { words: { text, values: { times } } }));
}

/**
 * A likelihood ratio to two digits, and no more than there is evidence for.
 * @param {number} llr natural logarithm, 0 or more
 */
export function timesOf(llr) {
  const times = Math.exp(llr);
  if (times > MOST_TIMES) return `> ${MOST_TIMES.toLocaleString("en")}`;
  if (times < 1.5) return "1";
  return Number(times.toPrecision(times < 10 ? 1 : 2)).toLocaleString("en");
}

function whyLine({ llr, limits: [low, high], warnings }) {
  const isBetween = llr >= low && llr < high;
  const isMixed = warnings.some(({ code }) => code === "channels_differ");
  return shared(make("p", { words: { text: isBetween ? "why_between" : isMixed ? "why_channels" : "why_speech" } }));
}

function collectionsLine({ collections }) {
  if (collections === null) return null;
  return make("p", { className: "muted", words: { text: "calibrated_on", values: { collections: String(collections) } } });
}

function numbers({ score, llr, threshold, limits, model }) {
  const exact = (value, digits) => (value === null ? "-" : value.toFixed(digits));
  const rows = [
    ["number_score", exact(score, 3)],
    ["number_threshold", exact(threshold, 3)],
    ["number_llr", exact(llr, 2)],
    ["number_limits", limits.map((limit) => exact(limit, 2)).join(" … ")],
    ["number_model", `${model.name} (${model.hash.slice(0, 12)})`],
  ];
  const row = ([text, value]) => [make("dt", { words: { text } }), make("dd", { textContent: value })];
  return make("details", {},
    make("summary", { words: { text: "numbers" } }),
    make("dl", {}, ...rows.flatMap(row)));
}
