/** From score to log-likelihood ratio, and from there to a probability: `sound_groove.scoring.calibration`. */

import { calibration, measures as measureConstants } from "../constants.js";
import { ModelError } from "../errors.js";
import { dot } from "../numbers.js";

/** @typedef {import("./measures.js").Measures} Measures */
/** @typedef {{measure: string, slope: number, offset: number, low: number, high: number, rise: number}} Term */
/** @typedef {{scale: number, offset: number, rise: number, different: number}} Line what a map makes of scores of trials with certain measures */

const { DIFFERENT_FADE_RATE, FADES_BEFORE, FADE_RATE } = calibration;
const { MAY_BE_UNKNOWN, UNFAMILIARITY } = measureConstants;
const LEAST = 2 ** -53; // of a probability

/** llr = scale x score + offset + rise x max(0, score - risesFrom)^2, all three bent by terms, within bounds. */
export class ScoreMap {
  /** @param {any} fields as a model file holds them */
  constructor(fields) {
    const number = (/** @type {string} */ name, /** @type {unknown} */ value) => {
      if (typeof value === "number" && Number.isFinite(value)) return value;
      throw new ModelError(`the model's score map is damaged: ${name} is ${value}`);
    };
    this.scale = number("scale", fields.scale);
    this.offset = number("offset", fields.offset);
    this.rise = number("rise", fields.rise ?? 0);
    this.risesFrom = number("rises_from", fields.rises_from ?? 0);
    /** @type {Term[]} */
    this.terms = (fields.terms ?? []).map((/** @type {any} */ term) => ({ rise: 0, ...term }));
    /** @type {[number, number] | null} */
    this.bounds = fields.bounds ?? null;
    /** @type {number[]} */
    this.reference = fields.reference ?? [];
    this.calibrated = Boolean(fields.calibrated);
    /** @type {number | null} */
    this.familiarUpTo = fields.familiar_up_to ?? null;
    /** How many collections it was fitted on, each of which was left out in turn. @type {number | null} */
    this.collections = fields.figures?.collections === undefined ? null : Math.trunc(fields.figures.collections);
  }

  /** How near an embedding is to what the map was fitted on; null where that is not known. @param {ArrayLike<number>} embedding */
  closeness(embedding) {
    return this.reference.length > 0 ? dot(embedding, this.reference) : null;
  }

  /** @param {Measures} measures @returns {Line} */
  line(measures) {
    let { scale, offset, rise } = this;
    for (const term of this.terms) {
      let value = measures[term.measure];
      if (value === undefined) throw new ModelError(`the model's score map needs a measure '${term.measure}', unknown here`);
      if (Number.isNaN(value) && MAY_BE_UNKNOWN.includes(term.measure)) value = (term.low + term.high) / 2;
      value = Math.max(term.low, Math.min(term.high, value));
      scale += term.slope * value;
      offset += term.offset * value;
      rise += term.rise * value;
    }
    const left = this.#evidenceLeft(measures);
    const different = left ** (DIFFERENT_FADE_RATE / FADE_RATE - 1);
    return { scale: Math.max(scale, 0) * left, offset: offset * left, rise: Math.max(rise, 0) * left, different };
  }

  /** Whether one of the two recordings is unlike all that the map was fitted on. @param {Measures} measures */
  isUnfamiliar(measures) {
    return this.familiarUpTo !== null && measures[UNFAMILIARITY] > this.familiarUpTo;
  }

  /** What part of evidence for one speaker is left, from 1 towards 0 the less familiar. @param {Measures} measures */
  #evidenceLeft(measures) {
    const value = measures[UNFAMILIARITY];
    if (this.familiarUpTo === null || Number.isNaN(value)) return 1;
    return Math.exp(-FADE_RATE * Math.max(value - this.familiarUpTo + FADES_BEFORE, 0));
  }

  /** The log-likelihood ratio of a score. @param {number} score @param {Line} line */
  onLine(score, { scale, offset, rise, different }) {
    let llr = scale * score + offset + rise * Math.max(score - this.risesFrom, 0) ** 2;
    if (llr < 0) llr *= different;
    return this.bounds === null ? llr : Math.max(this.bounds[0], Math.min(this.bounds[1], llr));
  }

  /** The score that has an llr; null where no score has, or all have. @param {number} llr @param {Line} line */
  scoreOf(llr, { scale, offset, rise, different }) {
    if (this.bounds !== null && !(this.bounds[0] < llr && llr <= this.bounds[1])) return null;
    if (llr < 0) {
      if (different === 0) return null;
      llr /= different;
    }
    const above = llr - (scale * this.risesFrom + offset);
    if (rise > 0 && above > 0) return this.risesFrom + (Math.sqrt(scale ** 2 + 4 * rise * above) - scale) / (2 * rise);
    return scale > 0 ? (llr - offset) / scale : null;
  }
}

/** Of 'same speaker', given the evidence and what was believed before it (Bayes' rule). @param {number} llr @param {number} prior */
export function probability(llr, prior) {
  const odds = Math.exp(-Math.abs(llr + logit(prior)));
  const value = (llr + logit(prior) >= 0 ? 1 : odds) / (1 + odds);
  return Math.min(Math.max(value, LEAST), 1 - LEAST);
}

/** Logarithm of the odds of a probability. @param {number} prior between 0 and 1, exclusive */
export function logit(prior) {
  return Math.log(prior) - Math.log1p(-prior);
}
