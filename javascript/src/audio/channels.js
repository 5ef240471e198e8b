/**
 * Several channels as one: which is listened to, and whether those that are averaged carry the same sound.
 *
 * The measures and their limits are those of `sound_groove.audio.channels`, which says how they were found.
 */

import { channels as constants } from "../constants.js";
import { spectrum } from "../fourier.js";
import { dot, evenlySpaced, hann, mean, quantile, roundEven } from "../numbers.js";
import { resampled } from "./resampling.js";

const { LIKENESS, COHERENCE, AUDIBLE_DB, CANCELLED_SHARE, RATE, BAND_HZ, BANDS, FRAME_S, FRAME_STEP_S } = constants;
const { FLOOR_DB, LOUD, WINDOW_S, LEAST_S, STRETCH_S, KEPT_VALUES } = constants;
const TINY = 2 ** -1022;

/** @typedef {Float32Array[]} Stretch of each channel (samples,) at RATE */

/** The average of channels. @param {Float32Array[]} channels at least one, of one length */
export function average(channels) {
  if (channels.length === 1) return channels[0];
  const mono = channels[0].slice();
  for (const channel of channels.slice(1)) for (let i = 0; i < mono.length; i += 1) mono[i] += channel[i];
  for (let i = 0; i < mono.length; i += 1) mono[i] /= channels.length;
  return mono;
}

/**
 * What is known of channels that are averaged.
 * @param {Float32Array[]} channels at least two
 * @param {number} sampleRate
 * @returns {{differing: [number, number] | null, cancel: boolean}} the loudest channel and one that carries another
 *     sound, from 1; and whether they leave next to nothing of themselves
 */
export function channelFacts(channels, sampleRate) {
  const stretches = stretchesOf(channels, sampleRate);
  return { differing: differing(stretches), cancel: cancel(stretches) };
}

/** Stretches evenly spaced over the recording, few enough to be held. @param {Float32Array[]} channels @param {number} sampleRate */
function stretchesOf(channels, sampleRate) {
  const length = Math.max(1, Math.trunc(STRETCH_S * sampleRate));
  const most = Math.max(2, Math.trunc(KEPT_VALUES / (channels.length * STRETCH_S * RATE)));
  const count = Math.ceil(channels[0].length / length);
  let every = 1;
  while (Math.ceil(count / every) > most) every *= 2;
  /** @type {Stretch[]} */
  const found = [];
  for (let i = 0; i < count; i += every) {
    found.push(channels.map((channel) => resampled(channel.subarray(i * length, (i + 1) * length), sampleRate, RATE)));
  }
  return found;
}

/** @param {Stretch[]} stretches */
function cancel(stretches) {
  let [alone, together] = [0, 0];
  for (const stretch of stretches) {
    for (const channel of stretch) alone += dot(channel, channel);
    for (let i = 0; i < stretch[0].length; i += 1) {
      let total = 0;
      for (const channel of stretch) total += channel[i];
      together += total * total;
    }
  }
  return alone > 0 && alone < Infinity && together < CANCELLED_SHARE * alone;
}

/** @param {Stretch[]} all @returns {[number, number] | null} */
function differing(all) {
  const stretches = all.filter((stretch) => stretch[0].length >= LEAST_S * RATE);
  if (stretches.length === 0) return null;
  const count = stretches[0].length;
  const bands = Array.from({ length: count }, (_, channel) => stretches.flatMap((stretch) => bandPowers(stretch[channel])));
  const levels = bands.map((rows) => quantile(rows.map((row) => row.reduce((total, power) => total + power, 0)), LOUD));
  const loudest = levels.indexOf(Math.max(...levels));
  if (!levels.every(Number.isFinite) || levels[loudest] <= 0) return null;
  for (let channel = 0; channel < count; channel += 1) {
    if (channel === loudest || levels[channel] <= levels[loudest] * 10 ** (AUDIBLE_DB / 10)) continue;
    if (likeness(bands[loudest], bands[channel]) >= LIKENESS) continue;
    const pairs = stretches.map((stretch) => [stretch[loudest], stretch[channel]]);
    if (coherence(pairs) < COHERENCE) return [loudest + 1, channel + 1];
  }
  return null;
}

/** The mean power of bands over time (T, BANDS). @param {Float32Array} samples at RATE */
function bandPowers(samples) {
  const [lowest, highest] = BAND_HZ;
  const first = roundEven(lowest * FRAME_S);
  const edges = evenlySpaced(Math.log(lowest), Math.log(highest), BANDS + 1)
    .map((edge) => roundEven(Math.exp(edge) * FRAME_S) - first);
  return spectra(samples, FRAME_S, FRAME_STEP_S).map(({ re, im }) => edges.slice(1).map((high, band) => {
    const [from, to] = [edges[band], high];
    return mean(re.slice(from, to).map((value, i) => value * value + im[from + i] ** 2));
  }));
}

/** Spectra of overlapping windows within BAND_HZ; at least one. @param {Float32Array} samples @param {number} lengthS @param {number} stepS */
function spectra(samples, lengthS, stepS) {
  const [length, step] = [Math.trunc(lengthS * RATE), Math.trunc(stepS * RATE)];
  const [low, high] = BAND_HZ.map((edge) => roundEven((edge * length) / RATE));
  const shape = hann(length);
  const found = [];
  for (let start = 0; start === 0 || start + length <= samples.length; start += step) {
    const { re, im } = spectrum(shape.map((weight, i) => weight * (samples[start + i] ?? 0)), length);
    found.push({ re: re.slice(low, high), im: im.slice(low, high) });
  }
  return found;
}

/** The correlation of two channels' levels in bands, in dB, without each band's mean. @param {number[][]} one @param {number[][]} other */
function likeness(one, other) {
  const [first, second] = [one, other].map((rows) => levelsDb(rows).flat());
  const norm = Math.sqrt(dot(first, first) * dot(second, second));
  return norm > 0 ? dot(first, second) / norm : 0;
}

/** Of each band its levels against its loud frames. @param {number[][]} rows (T, BANDS) */
function levelsDb(rows) {
  const columns = rows[0].map((_, band) => rows.map((row) => row[band]));
  const loud = columns.map((column) => quantile(column, LOUD));
  const least = 1e-3 * Math.max(...loud); // a band in which there is nothing
  return columns.map((column, band) => {
    const levels = column.map((power) => 10 * Math.log10(power / Math.max(loud[band], least) + 10 ** (FLOOR_DB / 10)));
    const middle = mean(levels);
    return levels.map((level) => level - middle);
  });
}

/** The share of the power of each of two channels that is a filtered copy of the other's, the lesser. @param {Float32Array[][]} pairs */
function coherence(pairs) {
  const windowS = Math.min(WINDOW_S, Math.max(...pairs.map(([one]) => one.length)) / RATE / 3);
  const [ones, others] = [0, 1].map((side) => pairs.flatMap((pair) => spectra(pair[side], windowS, windowS / 2)));
  const byChance = 1 / (0.55 * ones.length + 0.45); // windows that overlap by half are worth about half as many
  const [shared, all] = [[0, 0], [0, 0]];
  for (let bin = 0; bin < ones[0].re.length; bin += 1) {
    let [p, q, re, im] = [0, 0, 0, 0];
    ones.forEach((one, t) => {
      const [a, b, c, d] = [one.re[bin], one.im[bin], others[t].re[bin], others[t].im[bin]];
      p += a * a + b * b;
      q += c * c + d * d;
      re += a * c + b * d;
      im += b * c - a * d;
    });
    const found = (re * re + im * im) / Math.max(p * q, TINY);
    const share = Math.max(0, Math.min(1, (found - byChance) / Math.max(1 - byChance, 1e-9)));
    [p, q].forEach((power, side) => {
      shared[side] += share * power;
      all[side] += power;
    });
  }
  return Math.min(...shared.map((power, side) => power / Math.max(all[side], TINY)));
}
