/** A comparison in words, numbers and a picture. */

import { make } from "./elements.js";

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
 */
export function verdictNode(comparison, warnings) {
  const { verdict, probability, llr } = comparison;
  const parts = [make("h3", { className: `verdict ${verdict}`, words: { text: `verdict_${verdict}` } })];
  if (probability === null) parts.push(make("p", { words: { text: "no_probability" } }));
  else parts.push(probabilityLine(comparison), bar(comparison), evidenceLine(comparison));
  if (verdict === "inconclusive" && probability !== null) {
    const [low, high] = comparison.limits;
    const between = llr >= low && llr < high;
    const mixed = comparison.warnings.some(({ code }) => code === "channels_differ");
    const why = between ? "why_between" : mixed ? "why_channels" : "why_speech";
    parts.push(make("p", { words: { text: why } }));
  }
  parts.push(...warnings, numbers(comparison), make("p", { className: "muted", words: { text: "not_detected" } }));
  return make("div", { className: "answer" }, ...parts);
}

/** A probability of exactly 0 or 1 is nobody's; 0.9996 -> "99.96 %", 0.99999 -> "> 99.99 %" */
export function percent(probability) {
  const value = 100 * probability;
  if (value > 99.99) return "> 99.99 %";
  if (value < 0.01) return "< 0.01 %";
  if (value > 99 || value < 1) return `${value.toFixed(2)} %`;
  return `${value.toFixed(value < 10 || value > 90 ? 1 : 0)} %`;
}

/** The probability that evidence (llr, natural logarithm) and a prior make: Bayes in odds. */
export function probabilityOf(llr, prior) {
  return 1 / (1 + Math.exp(-llr) * ((1 - prior) / prior));
}

function probabilityLine({ probability, prior }) {
  const values = { probability: percent(probability), prior: percent(prior) };
  const text = prior === 0.5 ? "probability_even" : "probability";
  return make("p", { className: "probability", words: { text, values } });
}

/** How strong the evidence is, what it speaks for, and on how many collections that rests. */
function evidenceLine({ strength, llr, collections }) {
  const text = strength === "none" ? "evidence_neither" : llr > 0 ? "evidence_same" : "evidence_different";
  const words = { text, values: { strength: { text: `strength_${strength.replace(" ", "_")}` } } };
  const parts = [make("span", { words })];
  if (collections !== null) {
    parts.push(" ", make("span", { words: { text: "calibrated_on", values: { collections: String(collections) } } }));
  }
  return make("p", { className: "evidence" }, ...parts);
}

/** A line from 0 to 1 with the two limits and the probability on it. */
function bar({ probability, prior, limits }) {
  const [low, high] = limits.map((llr) => probabilityOf(llr, prior));
  const values = { probability: percent(probability), low: percent(low), high: percent(high) };
  const zone = (name, from, to) => placed(make("span", { className: `zone ${name}` }), from, to);
  const tick = (at) => placed(make("span", { className: "tick", textContent: percent(at) }), at);
  const names = ["different", "inconclusive", "same"].map((name) => make("span", { words: { text: `zone_${name}` } }));
  return make("div", { className: "bar", role: "img", label: { text: "bar", values } },
    make("div", { className: "zones" },
      zone("different", 0, low), zone("inconclusive", low, high), zone("same", high, 1),
      placed(make("span", { className: "marker" }), probability)),
    make("div", { className: "ticks" }, tick(low), ...(high > low ? [tick(high)] : [])),
    make("div", { className: "names" }, ...names));
}

function placed(node, from, to = from) {
  node.style.left = `${100 * from}%`;
  if (to > from) node.style.width = `${100 * (to - from)}%`;
  return node;
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
