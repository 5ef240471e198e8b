/** Measures of a trial: what is known of its two recordings beside their embeddings. */

import { measures as constants } from "../constants.js";

/**
 * @typedef {{speech_s: number, snr_db: number, embedding_norm: number | null, unfamiliarity: number | null,
 *     closeness: number | null}} Side what a measure takes of one side of a trial
 * @typedef {Object<string, number>} Measures by name; NaN for what is not known
 */

/** @param {Side} first @param {Side} second @returns {Measures} */
export function trialMeasures(first, second) {
  const [a, b] = [first, second].map(({ speech_s: seconds }) => Math.max(seconds, constants.SHORTEST_S));
  const lower = (/** @type {"embedding_norm" | "closeness"} */ name) => Math.min(first[name] ?? NaN, second[name] ?? NaN);
  const unlike = [first, second].flatMap(({ unfamiliarity }) => unfamiliarity ?? []);
  return {
    speech: Math.log(2 / (1 / a + 1 / b)), // of the harmonic mean
    snr: Math.min(first.snr_db, second.snr_db),
    norm: Math.log(lower("embedding_norm")),
    closeness: lower("closeness"),
    unfamiliarity: unlike.length > 0 ? Math.max(...unlike) : NaN,
  };
}
