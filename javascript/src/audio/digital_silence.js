/** Digital silence inside a recording: what noise gates, muted microphones and dropped packets leave between words. */

import { digital_silence, limits } from "../constants.js";
import { roundEven } from "../numbers.js";

const { LEAST_RUN_S, STILL, STILL_BESIDE_PEAK } = digital_silence;
const { SAMPLE_RATE } = limits;

/**
 * Seconds in which the samples stand still for at least LEAST_RUN_S, between the first sound and the last.
 * @param {Float32Array} samples mono at 16 kHz; an offset of all samples does not matter
 */
export function digitalSilenceS(samples) {
  if (samples.length < 2) return 0;
  let [low, high] = [Infinity, -Infinity];
  for (const sample of samples) {
    if (sample < low) low = sample;
    if (sample > high) high = sample;
  }
  const limit = Math.fround(Math.min(STILL, STILL_BESIDE_PEAK * Math.fround(high - low)));
  const least = roundEven(LEAST_RUN_S * SAMPLE_RATE);
  let [still, first] = [0, -1]; // samples of runs that count, and where the current run began
  for (let i = 0; i <= samples.length - 1; i += 1) {
    const isStill = i < samples.length - 1 && Math.abs(Math.fround(samples[i + 1] - samples[i])) <= limit;
    if (isStill && first < 0) first = i;
    if (isStill || first < 0) continue;
    const length = i - first + 1;
    // A run at either end is no pause, and neither is one of a few samples.
    if (first > 0 && i < samples.length - 1 && length >= least) still += length;
    first = -1;
  }
  return still / SAMPLE_RATE;
}
