/** What makes a recording less trustworthy than it looks: little speech, clipping, a narrow band, long silence. */

import { limits, quality } from "../constants.js";
import { powerSpectrum } from "../fourier.js";
import { hann, mean, median, quantile, runs, withCommas } from "../numbers.js";
import { digitalSilenceS } from "./digital_silence.js";
import { unfamiliarity } from "./familiarity.js";
import { chunkLevels, findSpeech, speechSpans } from "./speech.js";
import { speech as speechConstants } from "../constants.js";

/** @typedef {import("./pieces.js").Span} Span */
/** @typedef {import("./speech.js").ChunkLevels} ChunkLevels */
/** @typedef {{code: string, message: string}} Warning */
/** @typedef {{speech: import("./speech.js").Detector, familiar: import("./familiarity.js").FamiliarSpeech}} Ears what a
 *     recording is judged by: the detector of speech, and that of unfamiliar sound */
/** @typedef {{speechS: number, snrDb: number, warnings: Warning[], speech: Span[], unfamiliarity: number | null}} Quality */

const { SAMPLE_RATE } = limits;
const { CHUNK } = speechConstants;
const TINY = 2 ** -126; // the smallest normal float32

/**
 * Judge how far a recording can be trusted.
 * @param {Float32Array} samples mono at 16 kHz, full scale at 1
 * @param {number} sourceSampleRate the file's own rate in Hz, which tells a telephone recording at once
 * @param {Ears} ears
 * @returns {Promise<Quality>}
 */
export async function assess(samples, sourceSampleRate, ears) {
  const durationS = samples.length / SAMPLE_RATE;
  const chunks = chunkLevels(samples);
  const isSpeech = await findSpeech(samples, chunks, ears.speech);
  const share = isSpeech.length > 0 ? isSpeech.filter(Boolean).length / isSpeech.length : 0;
  const speechS = share * durationS;
  const silent = runs(isSpeech.map((flag) => !flag)).map(([begin, end]) => end - begin);
  const silenceS = (Math.max(0, ...silent) * CHUNK) / SAMPLE_RATE;
  const found = [
    judgeSpeech(speechS),
    judgeClipping(clippedShare(samples, chunks)),
    judgeBand(sourceSampleRate, narrowBandDropDb(samples, isSpeech)),
    judgeSilence(Math.min(silenceS, durationS), share, durationS),
    judgeDigitalSilence(digitalSilenceS(samples)),
  ];
  const speech = speechSpans(isSpeech, samples.length);
  return {
    speechS,
    snrDb: signalToNoiseDb(chunks.powers, isSpeech),
    warnings: found.filter((warning) => warning !== null),
    speech,
    unfamiliarity: unfamiliarity(samples, speech, ears.familiar),
  };
}

/** Seconds of speech as a sentence gives them: rounded down. @param {number} seconds */
export function secondsText(seconds) {
  return `${(Math.floor(100 * seconds) / 100).toFixed(2)} s`;
}

/** A share of cases, from 0 to 1, that was counted. @param {number} rate @param {number} digits */
function rateText(rate, digits) {
  const step = 10 ** -digits; // the least that is told apart, in %
  if (rate > 0 && rate < step / 100) return `under ${step.toFixed(digits)} %`;
  if (rate > 1 - step / 100 && rate < 1) return `over ${(100 - step).toFixed(digits)} %`;
  return `${(100 * rate).toFixed(digits)} %`;
}

/** @param {number} speechS @returns {Warning | null} */
function judgeSpeech(speechS) {
  if (speechS >= quality.LITTLE_SPEECH_S) return null;
  const amount = speechS > 0 ? `only ${secondsText(speechS)} of speech` : "no speech";
  const message = `${amount} was found; a comparison wants ${quality.LITTLE_SPEECH_S.toFixed(0)} s or more`;
  return { code: "little_speech", message };
}

/** @param {number} share @returns {Warning | null} */
function judgeClipping(share) {
  if (share <= quality.CLIPPED_SHARE) return null;
  const amount = rateText(share, 1);
  return { code: "clipping", message: `${amount} of the samples are clipped or beyond full scale; record at a lower level` };
}

/** @param {number} sourceSampleRate @param {number} dropDb @returns {Warning | null} */
function judgeBand(sourceSampleRate, dropDb) {
  const code = "narrow_band";
  if (sourceSampleRate < SAMPLE_RATE) {
    const top = Number((sourceSampleRate / 2000).toPrecision(6));
    return { code, message: `the recording has ${withCommas(sourceSampleRate)} Hz, so nothing above ${top} kHz` };
  }
  if (dropDb >= quality.NARROW_DROP_DB) return null;
  const message = `above 4 kHz the speech is ${(-dropDb).toFixed(0)} dB weaker than below, as in upsampled telephone speech`;
  return { code, message };
}

/** @param {number} silenceS @param {number} speechShare @param {number} durationS @returns {Warning | null} */
function judgeSilence(silenceS, speechShare, durationS) {
  const code = "long_silence";
  const advice = "have no speech; cut the recording to the speech";
  if (silenceS >= quality.LONG_SILENCE_S) return { code, message: `${silenceS.toFixed(1)} s in a row ${advice}` };
  const silent = 1 - speechShare;
  if (silent < quality.SILENT_SHARE || silent * durationS < quality.LITTLE_SPEECH_S) return null;
  return { code, message: `${rateText(silent, 0)} of its ${durationS.toFixed(1)} s ${advice}` };
}

/** @param {number} silenceS @returns {Warning | null} */
function judgeDigitalSilence(silenceS) {
  if (silenceS === 0) return null;
  const message = `${silenceS.toFixed(1)} s of digital silence lie inside the recording, as noise gates and muted `
    + "microphones leave it; switch them off";
  return { code: "digital_silence", message };
}

/**
 * Share of samples that are clipped: in flat tops close to the peak, or at or beyond full scale.
 * @param {Float32Array} samples mono at 16 kHz, full scale at 1
 * @param {ChunkLevels} chunks
 */
export function clippedShare(samples, chunks) {
  const [offset, bottom, top] = offsetAndExtremes(chunks);
  if (bottom === top) return 0;
  let count = 0;
  for (let start = 0; start < samples.length; start += quality.BLOCK) {
    let block = samples.subarray(start, start + quality.BLOCK);
    if (offset !== 0) { // silence that was put in afterwards does not lie at the offset
      block = block.map((sample, i) => (chunks.isSilent[Math.floor((start + i) / CHUNK)] ? 0 : sample - Math.fround(offset)));
    }
    count += clippedCount(block, bottom, top);
  }
  return count / samples.length;
}

/** The constant under a recording, 0 where it is small, and where flat tops would lie less it. @param {ChunkLevels} chunks */
function offsetAndExtremes({ means, lows, highs, isSilent }) {
  const heard = (/** @type {Float64Array} */ values) => values.filter((_, i) => !isSilent[i]);
  if (isSilent.every(Boolean)) return [0, 0, 0];
  const low = heard(lows).reduce((least, value) => Math.min(least, value));
  const high = heard(highs).reduce((most, value) => Math.max(most, value));
  const offset = median(heard(means));
  if (Math.abs(offset) >= (quality.LEAST_OFFSET * (high - low)) / 2) return [offset, low - offset, high - offset];
  const peak = Math.max(high, -low);
  return [0, -peak, peak];
}

/** @param {Float32Array} samples @param {number} bottom where flat tops would lie @param {number} top */
function clippedCount(samples, bottom, top) {
  const [upper, lower] = [Math.fround(quality.FLAT_LEVEL * top), Math.fround(quality.FLAT_LEVEL * bottom)];
  const step = Math.fround(quality.FLAT_STEP * Math.max(top, -bottom));
  const isNear = (/** @type {number} */ i) => samples[i] >= upper || samples[i] <= lower;
  let count = 0;
  for (let i = 0; i < samples.length;) {
    let end = i + 1; // of a run of samples that are near the extremes, each close to the one before
    while (end < samples.length && isNear(end - 1) && isNear(end)
      && Math.abs(Math.fround(samples[end] - samples[end - 1])) <= step) end += 1;
    if (end - i >= quality.FLAT_RUN) count += end - i;
    else for (let j = i; j < end; j += 1) count += Math.abs(samples[j]) >= 1 ? 1 : 0;
    i = end;
  }
  return count;
}

/**
 * Level of speech in 4.5 to 7 kHz against 2.5 to 3.4 kHz, in dB; 0 where there is too little speech to tell.
 * @param {Float32Array} samples
 * @param {boolean[]} isSpeech of its chunks
 */
export function narrowBandDropDb(samples, isSpeech) {
  if (isSpeech.filter(Boolean).length * CHUNK < quality.NARROW_SPEECH_S * SAMPLE_RATE) return 0;
  const window = hann(CHUNK);
  const power = new Float64Array(CHUNK / 2 + 1);
  isSpeech.forEach((flag, chunk) => {
    if (!flag) return;
    const part = samples.subarray(chunk * CHUNK, (chunk + 1) * CHUNK);
    const offset = mean(part);
    const own = powerSpectrum(Float64Array.from(part, (sample, i) => (sample - offset) * window[i]), CHUNK);
    for (let bin = 0; bin < power.length; bin += 1) power[bin] += own[bin];
  });
  const width = SAMPLE_RATE / CHUNK; // Hz of a bin
  const band = (/** @type {number} */ from, /** @type {number} */ to) =>
    mean(power.subarray(Math.trunc(from / width), Math.trunc(to / width)));
  return 10 * Math.log10((band(4500, 7000) + TINY) / (band(2500, 3400) + TINY));
}

/**
 * An estimate of how far speech lies above the noise, in dB, between SNR_RANGE.
 * @param {Float64Array} powers of each chunk
 * @param {boolean[]} isSpeech likewise
 */
export function signalToNoiseDb(powers, isSpeech) {
  const [least, most] = quality.SNR_RANGE;
  const speech = powers.filter((power, i) => isSpeech[i] && power > 0);
  if (speech.length === 0) return least;
  const [first, last] = [isSpeech.indexOf(true), isSpeech.lastIndexOf(true)];
  const noise = quantile(powers.filter((power, i) => power > 0 || (i >= first && i <= last)), quality.NOISE_QUANTILE);
  const pauses = powers.filter((power, i) => !isSpeech[i] && power > 0).length;
  const isGated = powers.includes(0) && pauses < quality.LEAST_PAUSE_SHARE * speech.length;
  if (noise <= 0 || isGated) return most;
  const ratio = (mean(speech) - noise) / noise;
  return Math.max(least, Math.min(most, 10 * Math.log10(Math.max(ratio, 1e-9))));
}
