/** How strong evidence is, in words that courts' experts use (ENFSI guideline for evaluative reporting, 2015). */

import { strength } from "../constants.js";

/** @typedef {"none" | "weak" | "moderate" | "moderately strong" | "strong" | "very strong"} Strength */

/** @param {number} llr natural logarithm, for or against @returns {Strength} */
export function strengthOf(llr) {
  const step = strength.STEPS.find(([ratio]) => Math.abs(llr) < Math.log(Number(ratio)));
  return /** @type {Strength} */ (step ? step[1] : "very strong");
}
