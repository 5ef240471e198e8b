/** Whether a recording sounds like speech as calibrations know it, whoever speaks and whichever model listens. */

import { familiarity, limits } from "../constants.js";
import { concatenated, evenlySpaced, roundEven } from "../numbers.js";
import { soundStatistics } from "./sound_statistics.js";

/** @typedef {import("./pieces.js").Span} Span */
/** @typedef {{mean: number[], deviation: number[], weights: number[], products: number[], offset: number}} FamiliarSpeech
 *     a detector: log odds that are quadratic in standardised statistics; of the products those on and above the
 *     diagonal, row by row */

const { FARTHEST, LENIENCY, USUAL_S, LONGEST_S } = familiarity;
const { SAMPLE_RATE } = limits;

/**
 * How unlike known speech a recording sounds: log odds, above 0 beyond what nearly all speech has.
 * @param {Float32Array} samples mono at 16 kHz, at any level
 * @param {Span[]} speech the stretches of speech in it
 * @param {FamiliarSpeech} detector
 * @returns {number | null} to three digits; null where there is too little speech to tell
 */
export function unfamiliarity(samples, speech, detector) {
  const statistics = soundStatistics(speechOf(samples, speech));
  if (statistics === null) return null;
  const speechS = speech.reduce((total, [start, end]) => total + end - start, 0) / SAMPLE_RATE;
  const leniency = LENIENCY * (1 / Math.sqrt(speechS) - 1 / Math.sqrt(USUAL_S));
  return Number((logOdds(statistics, detector) - leniency).toFixed(3));
}

/** @param {number[]} statistics @param {FamiliarSpeech} detector */
function logOdds(statistics, { mean, deviation, weights, products, offset }) {
  const x = statistics.map((value, i) => Math.max(-FARTHEST, Math.min(FARTHEST, (value - mean[i]) / deviation[i])));
  let [odds, place] = [offset, 0];
  x.forEach((value, i) => {
    odds += value * weights[i];
    for (let j = i; j < x.length; j += 1) {
      odds += value * products[place] * x[j];
      place += 1;
    }
  });
  return odds;
}

/** The speech alone; of more than LONGEST_S, evenly spaced seconds of it. @param {Float32Array} samples @param {Span[]} spans */
export function speechOf(samples, spans) {
  const most = roundEven(LONGEST_S * SAMPLE_RATE);
  const total = spans.reduce((sum, [start, end]) => sum + end - start, 0);
  if (total <= most) return concatenated(spans.map(([start, end]) => samples.subarray(start, end)));
  /** @type {Float32Array[]} */
  const parts = [];
  for (const wanted of evenlySpaced(0, total - SAMPLE_RATE, Math.floor(most / SAMPLE_RATE))) {
    const place = Math.trunc(wanted);
    let low = 0;
    for (const [start, end] of spans) {
      const high = low + end - start;
      const [first, last] = [Math.max(place, low), Math.min(place + SAMPLE_RATE, high)];
      if (first < last) parts.push(samples.subarray(start + first - low, start + last - low));
      low = high;
    }
  }
  return concatenated(parts);
}
