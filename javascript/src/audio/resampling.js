/**
 * From one sample rate to another: band-limited interpolation (Smith and Gossett 1984) with a Kaiser window.
 *
 * The two kernels are those that come nearest to what soxr's HQ quality, by which Python resamples, makes of an impulse:
 * at 8, 12, 24, 32 and 48 kHz the same within 2e-5 of the peak, at other rates, for which soxr filters twice, within
 * 2e-4. docs/browser.md has what that makes of evidence.
 */

import { limits } from "../constants.js";

/** @typedef {{cutoff: number, halfWidth: number, beta: number}} Kernel its cutoff in shares of half the lower rate, its
 *     half width in samples of the lower rate, and the shape of its window */

/** @type {Kernel} of ratios such as 2 : 1, 4 : 3 and 1 : 3 */
const OF_SMALL_RATIOS = { cutoff: 0.95687182, halfWidth: 97.125, beta: 13.04005 };
/** @type {Kernel} */
const OF_OTHERS = { cutoff: 0.95684292, halfWidth: 109.67, beta: 15.978 };
const [MOST_UP, MOST_DOWN] = [4, 3]; // of a small ratio
const PER_CROSSING = 4096; // values of the table from one zero of the kernel to the next
const MOST_KEPT = 1 << 21; // weights that are kept: 16 MB

/**
 * @param {Float32Array} samples
 * @param {number} from its rate in Hz, a whole number
 * @param {number} to likewise
 * @returns {Float32Array} as many as last as long, rounded, half up
 */
export function resampled(samples, from, to = limits.SAMPLE_RATE) {
  if (from === to) return samples;
  const divisor = greatestCommonDivisor(from, to);
  const [up, down] = [to / divisor, from / divisor];
  const found = new Float32Array(Math.floor((2 * samples.length * to + from) / (2 * from)));
  const design = up <= MOST_UP && down <= MOST_DOWN ? OF_SMALL_RATIOS : OF_OTHERS;
  const { halfWidth, weightsAt } = tableOf(design, Math.min(from, to) / from);
  const taps = 2 * Math.ceil(halfWidth) + 1;
  /** @type {Map<number, Float64Array>} */
  const kept = new Map();
  const mayKeep = up * taps <= MOST_KEPT;
  for (let i = 0; i < found.length; i += 1) {
    const whole = Math.floor((i * down) / up);
    const phase = (i * down) % up;
    let weights = kept.get(phase);
    if (!weights) {
      weights = weightsAt(phase / up, taps);
      if (mayKeep) kept.set(phase, weights);
    }
    const first = whole - (taps - 1) / 2;
    let total = 0;
    const [begin, end] = [Math.max(0, -first), Math.min(taps, samples.length - first)];
    for (let k = begin; k < end; k += 1) total += weights[k] * samples[first + k];
    found[i] = total;
  }
  return found;
}

/** A kernel as a table. @param {Kernel} kernel @param {number} share of the source's rate that the lower one is */
function tableOf(kernel, share) {
  const cutoff = kernel.cutoff * share; // of half the source's rate
  const halfWidth = kernel.halfWidth / share; // in samples of the source
  const { beta } = kernel;
  const step = 1 / (cutoff * PER_CROSSING); // in samples of the source
  const table = new Float64Array(Math.ceil(halfWidth / step) + 2);
  const scale = 1 / bessel(beta);
  for (let i = 0; i < table.length; i += 1) {
    const place = (i * step) / halfWidth;
    if (place >= 1) continue;
    const angle = (Math.PI * i) / PER_CROSSING;
    table[i] = cutoff * (i === 0 ? 1 : Math.sin(angle) / angle) * bessel(beta * Math.sqrt(1 - place * place)) * scale;
  }
  const weightsAt = (/** @type {number} */ fraction, /** @type {number} */ taps) => Float64Array.from({ length: taps }, (_, k) => {
    const place = Math.abs(k - (taps - 1) / 2 - fraction) / step;
    const below = Math.floor(place);
    return below + 1 < table.length ? table[below] + (table[below + 1] - table[below]) * (place - below) : 0;
  });
  return { halfWidth, weightsAt };
}

/** The modified Bessel function of order 0. @param {number} x */
function bessel(x) {
  let [term, total] = [1, 1];
  for (let k = 1; term > 1e-17 * total; k += 1) {
    term *= (x / (2 * k)) ** 2;
    total += term;
  }
  return total;
}

/** @param {number} a @param {number} b @returns {number} */
function greatestCommonDivisor(a, b) {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}
