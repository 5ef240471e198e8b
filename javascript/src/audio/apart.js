/** How far apart parts of a recording sound: a cheap look before parts are embedded. */

import { apart } from "../constants.js";
import { powerSpectrum } from "../fourier.js";
import { hann, mean, meanRow, quantile } from "../numbers.js";
import { melFilters } from "./filterbank.js";

const { FRAME, SHIFT, BANDS, CEPSTRA, HEARD, LOUD, LEAST_FRAMES, FLOOR } = apart;

/**
 * The two parts that sound farthest apart.
 * @param {Float32Array} samples of speech, mono at 16 kHz, at least FRAME; its level makes no difference
 * @param {import("./pieces.js").Span[]} parts at least two of them
 * @returns {{first: number, second: number, distance: number}} their places, and the distance of their mean cepstra,
 *     each value in standard deviations within a part
 */
export function farthestParts(samples, parts) {
  const { rows: cepstra, isHeard } = cepstraOf(samples);
  const rows = parts.map(([start, end]) => {
    const from = Math.floor(start / SHIFT);
    const to = Math.max(Math.floor((end - FRAME) / SHIFT), from) + 1;
    const heard = cepstra.slice(from, to).filter((_, t) => isHeard[from + t]);
    return heard.length >= LEAST_FRAMES ? heard : cepstra.slice(from, to);
  });
  const means = rows.map(meanRow);
  const frames = rows.reduce((total, part) => total + part.length, 0);
  const spread = means[0].map((_, k) => {
    const squares = rows.map((part, i) => part.reduce((total, row) => total + (row[k] - means[i][k]) ** 2, 0));
    return Math.max(Math.sqrt(squares.reduce((total, one) => total + one, 0) / frames), 1e-9);
  });
  const found = { first: 0, second: 0, distance: -1 };
  means.forEach((one, first) => {
    for (let second = first + 1; second < means.length; second += 1) {
      const squares = one.map((value, k) => ((value - means[second][k]) / spread[k]) ** 2);
      const distance = Math.sqrt(squares.reduce((total, square) => total + square, 0));
      if (distance > found.distance) Object.assign(found, { first, second, distance });
    }
  });
  return found;
}

/** Of each frame its cepstral values, and whether it is not quiet. @param {Float32Array} samples */
function cepstraOf(samples) {
  const window = hann(FRAME);
  const filters = melFilters(BANDS);
  const bands = [];
  for (let start = 0; start + FRAME <= samples.length; start += SHIFT) {
    const power = powerSpectrum(window.map((weight, i) => weight * samples[start + i]), FRAME);
    bands.push(filters.map((filter) => {
      let energy = 0;
      for (let bin = 0; bin < filter.length; bin += 1) energy += (power[bin + 1] / FRAME) * filter[bin];
      return Math.log(energy + FLOOR);
    }));
  }
  const cosines = Array.from({ length: CEPSTRA }, (_, k) => Array.from({ length: BANDS }, (_, band) =>
    Math.cos((Math.PI * (k + 1) * (band + 0.5)) / BANDS) * Math.sqrt(2 / BANDS)));
  const rows = bands.map((row) => cosines.map((cosine) => cosine.reduce((total, value, band) => total + value * row[band], 0)));
  const levels = bands.map(mean);
  const limit = quantile(levels, LOUD) - HEARD;
  return { rows, isHeard: levels.map((level) => level > limit) };
}
