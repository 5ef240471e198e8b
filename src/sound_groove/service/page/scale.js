/** A probability on a scale of odds, on which what is nearly certain can be told from what is certain. */

import { make } from "./elements.js";

const END = 0.9999; // the scale ends there, and at 1 - END
const TICKS = [0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999];
const NARROW = [0.01, 0.5, 0.99]; // the ticks that a narrow page has room for

/** A probability of exactly 0 or 1 is nobody's; 0.9996 -> "99.96 %", 0.99999 -> "> 99.99 %" */
export function percent(probability) {
  const value = 100 * probability;
  if (value > 99.99) return "> 99.99\u00a0%";
  if (value < 0.01) return "< 0.01\u00a0%";
  if (value > 99 || value < 1) return `${value.toFixed(2)}\u00a0%`;
  return `${value.toFixed(value < 10 || value > 90 ? 1 : 0)}\u00a0%`;
}

/** The probability that evidence (llr, natural logarithm) and a prior make: Bayes in odds. */
export function probabilityOf(llr, prior) {
  return 1 / (1 + Math.exp(-llr) * ((1 - prior) / prior));
}

/** Where a probability lies on the scale, in [0, 1]: its log odds between those of the ends. */
export function placeOf(probability) {
  const odds = (value) => Math.log(value / (1 - value));
  return Math.max(0, Math.min(1, 0.5 + odds(probability) / (2 * odds(END))));
}

/**
 * The scale, with the zones of the verdicts, a mark for this probability, and ticks.
 * @param {{probability: number, prior: number, limits: [number, number]}} comparison
 */
export function scaleNode({ probability, prior, limits }) {
  const [low, high] = limits.map((llr) => probabilityOf(llr, prior));
  const values = { probability: percent(probability), low: percent(low), high: percent(high) };
  const zone = (name, from, to) => {
    const node = make("span", { className: `zone ${name}` });
    node.append(make("span", { words: { text: `zone_${name}` } }));
    node.style.left = `${100 * from}%`;
    node.style.width = `${100 * (to - from)}%`;
    return node;
  };
  const tick = (value) => placed(make("span", { className: NARROW.includes(value) ? "tick" : "tick minor", textContent: `${Number((100 * value).toFixed(1))}\u00a0%` }), value);
  const edges = [0, placeOf(low), placeOf(high), 1];
  const zones = ["different", "inconclusive", "same"].map((name, i) => zone(name, edges[i], edges[i + 1]));
  return make("div", { className: "scale", role: "img", label: { text: "scale", values } },
    make("div", { className: "zones" }, ...zones, placed(make("span", { className: "marker" }), probability)),
    make("div", { className: "ticks" }, ...TICKS.map(tick)));
}

function placed(node, probability) {
  node.style.left = `${100 * placeOf(probability)}%`;
  return node;
}
