/** What a recording sounds like, in numbers that do not say who speaks; `sound_groove.audio.sound_statistics` names them. */

import { limits, sound_statistics } from "../constants.js";
import { autocorrelation, powerSpectrum } from "../fourier.js";
import { deviation, hann, mean, median, quantile } from "../numbers.js";
import { melFilters } from "./filterbank.js";

const { LEAST_S, FRAME, LONG_FRAME, SHIFT, BANDS, CEPSTRA, HEARD_DB, FLOOR_DB, LOUD } = sound_statistics;
const { PERIODS, PERIODIC, FIRST_PEAK, FLATNESS_BINS } = sound_statistics;
const { SAMPLE_RATE } = limits;

/**
 * The numbers, in the order of Python's, or null where there is too little sound.
 * @param {Float32Array} samples of speech at 16 kHz, pauses cut out
 * @returns {number[] | null}
 */
export function soundStatistics(samples) {
  if (samples.length < LEAST_S * SAMPLE_RATE) return null;
  const offset = Math.fround(mean(samples));
  const waveform = Float64Array.from(samples, (sample) => sample - offset);
  const powers = frames(waveform, FRAME, hann(FRAME)).map((frame) => powerSpectrum(frame, FRAME));
  const levels = powers.map((power) => 10 * Math.log10(power.reduce((total, value) => total + value, 0) + 1e-12));
  const loudDb = quantile(levels, LOUD);
  const heard = levels.map((level) => level > loudDb - HEARD_DB);
  const scale = 10 ** (loudDb / 10);
  const floor = 10 ** (-FLOOR_DB / 10);
  for (const power of powers) for (let bin = 0; bin < power.length; bin += 1) power[bin] /= scale;
  const filters = melFilters(BANDS);
  const bands = powers.map((power) => filters.map((filter) => {
    let energy = 0;
    for (let bin = 0; bin < filter.length; bin += 1) energy += power[bin + 1] * filter[bin];
    return Math.log(energy + floor);
  }));
  const heardBands = bands.filter((_, t) => heard[t]);
  const columns = filters.map((_, band) => heardBands.map((row) => row[band]));
  return [
    ...cepstrum(columns.map(mean)),
    ...means(columns.map(deviation), 2),
    ...periodicity(frames(waveform, LONG_FRAME, null), heard),
    ...flatness(powers.filter((_, t) => heard[t]), floor),
    ...levelStatistics(levels.map((level) => level - loudDb), heard),
    ...means(filters.map((_, band) => {
      const column = bands.map((row) => row[band]);
      return quantile(column, LOUD) - quantile(column, 0.1);
    }), BANDS / 8),
  ];
}

/**
 * A frame every SHIFT samples.
 * @param {Float64Array} waveform
 * @param {number} length
 * @param {Float64Array | null} window by which each is multiplied
 */
function frames(waveform, length, window) {
  const count = Math.max(0, Math.floor((waveform.length - length) / SHIFT) + 1);
  return Array.from({ length: count }, (_, t) => {
    const frame = waveform.subarray(t * SHIFT, t * SHIFT + length);
    return window ? frame.map((sample, i) => sample * window[i]) : frame;
  });
}

/** The means of so many neighbours each. @param {number[]} values @param {number} count */
function means(values, count) {
  return Array.from({ length: values.length / count }, (_, i) => mean(values.slice(i * count, (i + 1) * count)));
}

/** @param {number[]} bands mean log energies */
function cepstrum(bands) {
  return Array.from({ length: CEPSTRA }, (_, k) => {
    const terms = bands.map((energy, band) => energy * Math.cos((Math.PI * k * (band + 0.5)) / BANDS));
    return (terms.reduce((total, term) => total + term, 0) * 2) / BANDS;
  });
}

/**
 * How periodic the heard frames are (Boersma 1993), and at which pitch.
 * @param {Float64Array[]} all
 * @param {boolean[]} heard
 */
function periodicity(all, heard) {
  const some = all.filter((_, t) => heard[t]);
  const window = hann(LONG_FRAME);
  const left = autocorrelation(powerSpectrum(window, 2 * LONG_FRAME));
  const found = (some.length > 0 ? some : all).map((frame) => pitchOf(frame, window, left));
  const peaks = found.map(({ peak }) => peak);
  const voiced = found.filter(({ peak }) => peak > PERIODIC);
  const pitch = voiced.length > 2 ? voiced.map(({ period }) => Math.log2(SAMPLE_RATE / period / 100)) : [0, 0, 0];
  const steps = pitch.slice(1).map((value, i) => Math.abs(value - pitch[i]));
  return [
    voiced.length / found.length, mean(peaks), deviation(peaks), ...[0.1, 0.5, 0.9].map((share) => quantile(peaks, share)),
    median(pitch), quantile(pitch, 0.1), quantile(pitch, 0.9), deviation(pitch), mean(steps),
  ];
}

/**
 * The highest normalised autocorrelation of a frame, and the shortest period that nearly has it, in samples.
 * @param {Float64Array} frame
 * @param {Float64Array} window
 * @param {Float64Array} left what the window leaves of an autocorrelation, by lag
 */
function pitchOf(frame, window, left) {
  const correlation = autocorrelation(powerSpectrum(frame.map((sample, i) => sample * window[i]), 2 * LONG_FRAME));
  const [shortest, end] = PERIODS;
  const byPeriod = Float64Array.from({ length: end - shortest }, (_, i) =>
    correlation[shortest + i] / (correlation[0] + 1e-12) / (left[shortest + i] / left[0]));
  const peak = byPeriod.reduce((highest, value) => Math.max(highest, value), -Infinity);
  const place = byPeriod.findIndex((value) => value > FIRST_PEAK * peak);
  return { peak, period: Math.max(place, 0) + shortest };
}

/** Of three parts of the spectrum, mean and deviation over frames. @param {Float64Array[]} powers @param {number} floor */
function flatness(powers, floor) {
  return FLATNESS_BINS.flatMap(([low, high]) => {
    const each = powers.map((power) => {
      const part = power.subarray(low, high).map((value) => value + floor);
      return mean(part.map(Math.log)) - Math.log(mean(part));
    });
    return [mean(each), deviation(each)];
  });
}

/** Of levels below the loud frames, in dB. @param {number[]} levels @param {boolean[]} heard */
function levelStatistics(levels, heard) {
  const steps = levels.slice(1).map((level, i) => Math.abs(level - levels[i]));
  const share = heard.filter(Boolean).length / heard.length;
  return [deviation(levels), share, mean(steps), quantile(levels, 0.1), quantile(levels, 0.5)];
}
