/** From evidence to a verdict: 'same', 'different', or 'inconclusive' where neither is worth its risk. */

import { decision } from "../constants.js";
import { UsageError } from "../errors.js";
import { logit } from "./calibration.js";

/** @typedef {"same" | "different" | "inconclusive"} Verdict */

/**
 * @typedef {object} DecisionRule how sure a verdict must be
 * @property {number} [false_accept] cost of calling different speakers 'same'
 * @property {number} [false_reject] cost of calling one speaker 'different'
 * @property {number} [inconclusive] cost of no verdict
 * @property {number | null} [max_false_accept] largest share of comparisons of different speakers that may be called
 *     'same'; null leaves that side to the costs
 * @property {number | null} [max_false_reject] largest share of comparisons of one speaker that may be called 'different'
 */

const NAMES = ["false_accept", "false_reject", "inconclusive", "max_false_accept", "max_false_reject"];

/**
 * The llr below which the verdict is 'different', and that from which on it is 'same'.
 * @param {DecisionRule} rule
 * @param {number} prior between 0 and 1, exclusive
 * @returns {[number, number]}
 * @throws {UsageError} a cost or a rate is out of its range
 */
export function limitsOf(rule, prior) {
  const unknown = Object.keys(rule).find((name) => !NAMES.includes(name));
  if (unknown) throw new UsageError(`a rule has no '${unknown}'; it has ${NAMES.join(", ")}`);
  const [accept, reject, open] = NAMES.slice(0, 3).map((name, i) =>
    /** @type {number} */ (rule[/** @type {keyof DecisionRule} */ (name)] ?? decision.DEFAULT_COSTS[i]));
  const { max_false_accept: mostAccepted = null, max_false_reject: mostRejected = null } = rule;
  if (![accept, reject, open].every((cost) => Number.isFinite(cost) && cost > 0)) {
    throw new UsageError(`costs must be positive numbers; ${accept}, ${reject}, ${open} were given`);
  }
  for (const rate of [mostAccepted, mostRejected]) {
    if (rate !== null && !(rate > 0 && rate < 1)) {
      throw new UsageError(`an error rate must lie between 0 and 1, exclusive; ${rate} was given`);
    }
  }
  const odds = logit(prior);
  let low = Math.log(accept) - Math.log(reject) - odds; // where both wrong verdicts cost the same
  let high = low;
  if (open / accept + open / reject < 1) {
    high = -logitOf(open, accept) - odds;
    low = logitOf(open, reject) - odds;
  }
  if (mostAccepted !== null) high = -Math.log(mostAccepted);
  if (mostRejected !== null) low = Math.log(mostRejected);
  if (low > high) return mostRejected === null ? [low, low] : [high, high];
  return [low, high];
}

/** @param {number} llr @param {[number, number]} limits @returns {Verdict} */
export function decide(llr, [low, high]) {
  if (llr >= high) return "same";
  return llr < low ? "different" : "inconclusive";
}

/** The logit of part / whole, which is below 1. @param {number} part @param {number} whole */
function logitOf(part, whole) {
  return Math.log(part) - Math.log(whole) - Math.log1p(-part / whole);
}
