/** The level of a recording of which a network is given more than one piece: it hears each at the level of the whole. */

import { level } from "../constants.js";
import { melFilters, powerSpectra } from "./filterbank.js";

/**
 * The energy of the frame at which the louder ones hold half of the sum of all amplitudes.
 * @param {Float32Array} samples in [-1, 1] at 16 kHz, at least 400
 */
export function levelOfSamples(samples) {
  const weights = melFilters(80).reduce((total, filter) => total.map((weight, i) => weight + filter[i]));
  const amplitudes = [];
  for (const power of powerSpectra(samples)) {
    let energy = 0;
    for (let bin = 0; bin < weights.length; bin += 1) energy += power[bin + 1] * weights[bin];
    amplitudes.push(Math.sqrt(Math.max(energy, level.LEAST_ENERGY)));
  }
  amplitudes.sort((a, b) => b - a);
  const half = amplitudes.reduce((total, amplitude) => total + amplitude, 0) / 2;
  let louder = 0;
  for (const amplitude of amplitudes) {
    louder += amplitude;
    if (louder >= half) return amplitude ** 2;
  }
  return amplitudes[amplitudes.length - 1] ** 2;
}
