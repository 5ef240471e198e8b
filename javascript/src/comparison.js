/** Comparison: are two recordings of the same speaker? What turns a score into an answer. */

import { comparison as constants, cosine as cosineConstants } from "./constants.js";
import { UsageError } from "./errors.js";
import { allowsVerdict, allowVerdict } from "./audio/listening.js";
import { dot, rounded } from "./numbers.js";
import { logit, probability } from "./scoring/calibration.js";
import { decide, limitsOf } from "./scoring/decision.js";
import { trialMeasures } from "./scoring/measures.js";
import { strengthOf } from "./scoring/strength.js";

/** @typedef {import("./audio/listening.js").AudioFacts} AudioFacts */
/** @typedef {import("./audio/quality.js").Warning} Warning */

/**
 * @typedef {object} Comparison with the names that Python, the program and the service use
 * @property {number} score cosine of the two embeddings, in steps of 1e-6
 * @property {number | null} llr log-likelihood ratio (natural logarithm); null when the model has no score map
 * @property {import("./scoring/strength.js").Strength | null} strength the llr in words, whichever way it points
 * @property {number | null} probability of the same speaker, at `prior`
 * @property {number} prior probability of the same speaker before listening
 * @property {number | null} threshold the score at which the probability is one half for two such recordings
 * @property {[number, number]} limits the llr below which the verdict is 'different', and that from which on it is 'same'
 * @property {import("./scoring/decision.js").Verdict} verdict
 * @property {{name: string, hash: string}} model that scored
 * @property {number | null} collections how many collections of recordings the score map was fitted on
 * @property {Warning[]} warnings what makes the answer less trustworthy, and why there is no verdict when there is none
 * @property {[AudioFacts, AudioFacts]} audio of the first and the second recording
 */

/**
 * @typedef {object} CompareOptions
 * @property {number} [prior] probability of the same speaker before listening, in (0, 1); 0.5 where it is not given
 * @property {import("./scoring/decision.js").DecisionRule} [rule] how sure a verdict must be
 */

/** What one side of a comparison is: an embedding, or the mean of several, and the facts. @typedef {{embedding: ArrayLike<number>, facts: AudioFacts}} JudgedSide */

/**
 * The answer that a score gives.
 * @param {{identity: {name: string, hash: string}, scoreMap: import("./scoring/calibration.js").ScoreMap | null}} model
 * @param {[JudgedSide, JudgedSide]} sides
 * @param {Warning[]} warnings of both; some leave no verdict
 * @param {CompareOptions} options
 * @returns {Comparison}
 * @throws {UsageError} the prior is out of its range, or the rule is
 */
export function weigh({ identity, scoreMap }, [first, second], warnings, { prior = constants.DEFAULT_PRIOR, rule = {} }) {
  if (!(prior > 0 && prior < 1)) {
    throw new UsageError(`the prior must lie between 0 and 1, exclusive; ${prior} was given`);
  }
  const limits = limitsOf(rule, prior);
  const cosine = Math.max(-1, Math.min(1, dot(first.embedding, second.embedding)));
  const score = rounded(cosine, cosineConstants.DECIMALS);
  const isAllowed = [first, second].every(({ facts }) => allowsVerdict(facts)) && allowVerdict(warnings);
  const sides = [first, second].map(({ embedding, facts }) => ({ ...facts, closeness: scoreMap?.closeness(embedding) ?? null }));
  const measures = trialMeasures(sides[0], sides[1]);
  const line = scoreMap?.line(measures);
  const llr = scoreMap && line ? scoreMap.onLine(score, line) : null;
  return {
    score,
    llr,
    strength: llr === null ? null : strengthOf(llr),
    probability: llr === null ? null : probability(llr, prior),
    prior,
    threshold: scoreMap && line ? scoreMap.scoreOf(-logit(prior), line) : null,
    limits,
    verdict: llr === null || !isAllowed ? "inconclusive" : decide(llr, limits),
    model: identity,
    collections: scoreMap?.collections ?? null,
    warnings: [...warnings, ...doubts(scoreMap, measures)],
    audio: [first.facts, second.facts],
  };
}

/**
 * Why the probability of a trial with these measures is not to be relied on.
 * @param {import("./scoring/calibration.js").ScoreMap | null} scoreMap
 * @param {import("./scoring/measures.js").Measures} measures
 * @returns {Warning[]}
 */
function doubts(scoreMap, measures) {
  if (!scoreMap) {
    const message = "the model carries no map from score to probability, so there is a score and no verdict";
    return [{ code: "uncalibrated", message }];
  }
  if (!scoreMap.calibrated) {
    const message = "the probability is uncalibrated: its map was fitted on the validation speakers that also chose the "
      + "checkpoint; fit one on speakers of your own with 'sound-groove calibrate'";
    return [{ code: "uncalibrated", message }];
  }
  const found = [];
  if (scoreMap.isUnfamiliar(measures)) {
    const message = "one of the two is unlike all recordings that the model was calibrated on (a whisper, a changed voice, "
      + "music, an animal, a crowd, several codecs?), so that little is made of its score; give other speech, or run "
      + "'sound-groove calibrate' on 20 speakers who are recorded so";
    found.push({ code: "unfamiliar", message });
  }
  const lacking = scoreMap.terms.filter(({ measure, low }) => measures[measure] < low)
    .map(({ measure }) => constants._LACKING[/** @type {keyof typeof constants._LACKING} */ (measure)]);
  if (lacking.length > 0) {
    const message = `the two have ${lacking.join(" and ")} than the model was calibrated on; it may be too sure of them`;
    found.push({ code: "outside_calibration", message });
  }
  return found;
}
