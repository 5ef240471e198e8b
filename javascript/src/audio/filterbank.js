/** Kaldi's mel filters, and the power spectra of frames. */

import { filterbank, limits } from "../constants.js";
import { powerSpectrum } from "../fourier.js";
import { evenlySpaced } from "../numbers.js";

const { FRAME_LENGTH, FRAME_SHIFT, FFT_SIZE, PREEMPHASIS, LOW_FREQUENCY, SIXTEEN_BIT } = filterbank;
const { SAMPLE_RATE } = limits;

/** How many samples the given number of frames takes. @param {number} frames */
export function samplesOf(frames) {
  return FRAME_LENGTH + (frames - 1) * FRAME_SHIFT;
}

/** mel(f) = 1127 ln(1 + f / 700). @param {number} frequency in Hz */
function mel(frequency) {
  return 1127 * Math.log1p(frequency / 700);
}

/**
 * Triangles over the bins 1 to 255 of a transform of 512 values, linear in mel, from 20 Hz to 8 kHz.
 * @param {number} count
 * @returns {Float64Array[]} (255,) each
 */
export function melFilters(count) {
  const edges = evenlySpaced(mel(LOW_FREQUENCY), mel(SAMPLE_RATE / 2), count + 2);
  const bins = Float64Array.from({ length: FFT_SIZE / 2 - 1 }, (_, i) => mel(((i + 1) * SAMPLE_RATE) / FFT_SIZE));
  return Array.from({ length: count }, (_, i) => {
    const [left, centre, right] = edges.slice(i, i + 3);
    return bins.map((bin) => Math.max(0, Math.min((bin - left) / (centre - left), (right - bin) / (right - centre))));
  });
}

/**
 * The power spectrum of every frame of 25 ms, at Kaldi's scale and with Povey's window.
 * @param {Float32Array} samples at 16 kHz, at least 400
 * @returns {Generator<Float64Array>} (257,) each
 */
export function* powerSpectra(samples) {
  const window = Float64Array.from({ length: FRAME_LENGTH }, (_, n) =>
    (0.5 - 0.5 * Math.cos((2 * Math.PI * n) / (FRAME_LENGTH - 1))) ** 0.85);
  const frame = new Float64Array(FRAME_LENGTH);
  for (let start = 0; start + FRAME_LENGTH <= samples.length; start += FRAME_SHIFT) {
    let total = 0;
    for (let i = 0; i < FRAME_LENGTH; i += 1) total += samples[start + i] * SIXTEEN_BIT;
    const offset = total / FRAME_LENGTH;
    let before = samples[start] * SIXTEEN_BIT - offset; // before the first lies the first itself
    for (let i = 0; i < FRAME_LENGTH; i += 1) {
      const sample = samples[start + i] * SIXTEEN_BIT - offset;
      frame[i] = (sample - PREEMPHASIS * before) * window[i];
      before = sample;
    }
    yield powerSpectrum(frame, FFT_SIZE);
  }
}
