/**
 * Where in a recording somebody speaks: for every 32 ms of all of it, speech or not.
 *
 * Speech is found with Silero VAD, by the file that Python uses, in blocks of 10 s that begin 2 s earlier; an offset and
 * the level are taken out before. `sound_groove.audio.speech` says why.
 */

import { speech as constants } from "../constants.js";
import { concatenated, higherQuantile, mean, runs } from "../numbers.js";

/** @typedef {import("./pieces.js").Span} Span */
/** @typedef {(chunks: Float32Array, count: number) => Promise<Float32Array>} Detector probabilities of speech in so many
 *     rows of CONTEXT + CHUNK samples, its state at zero before the first */
/** @typedef {{means: Float64Array, lows: Float64Array, highs: Float64Array, powers: Float64Array, isSilent: boolean[]}} ChunkLevels
 *     of each chunk its mean, lowest and highest sample, its power around the mean, and whether it is constant */

const { CHUNK, CONTEXT, BLOCK, WARM_UP, SPEECH_PROBABILITY, STAYING_PROBABILITY, LEAST_RUN } = constants;
const { LEVEL, AROUND, LOUDER_SHARE, DEPTH, LOUDEST_SHARE } = constants;

/**
 * How loud each chunk of a recording is, whatever its offset; the last chunk may be shorter.
 * @param {Float32Array} samples mono at 16 kHz
 * @returns {ChunkLevels}
 */
export function chunkLevels(samples) {
  const count = Math.ceil(samples.length / CHUNK);
  const [means, lows, highs, powers] = [0, 0, 0, 0].map(() => new Float64Array(count));
  for (let i = 0; i < count; i += 1) {
    const chunk = samples.subarray(i * CHUNK, (i + 1) * CHUNK);
    const middle = mean(chunk);
    let [low, high, squares] = [Infinity, -Infinity, 0];
    for (const sample of chunk) {
      if (sample < low) low = sample;
      if (sample > high) high = sample;
      squares += (sample - middle) ** 2;
    }
    [means[i], lows[i], highs[i], powers[i]] = [middle, low, high, low === high ? 0 : squares / chunk.length];
  }
  return { means, lows, highs, powers, isSilent: Array.from(lows, (low, i) => low === highs[i]) };
}

/**
 * Which chunks of a recording are speech.
 * @param {Float32Array} samples mono at 16 kHz, at any level and with any offset
 * @param {ChunkLevels} chunks what `chunkLevels` finds in them
 * @param {Detector} detector
 * @returns {Promise<boolean[]>}
 */
export async function findSpeech(samples, chunks, detector) {
  if (chunks.isSilent.every(Boolean)) return chunks.isSilent.map(() => false);
  const spoken = decide(await probabilities(samples, chunks, detector));
  return spoken.map((isSpeech, i) => isSpeech && !chunks.isSilent[i]);
}

/**
 * Speech is a run of chunks above STAYING_PROBABILITY that somewhere reaches SPEECH_PROBABILITY.
 * @param {Float32Array} probability of each chunk
 * @returns {boolean[]}
 */
export function decide(probability) {
  const isSpeech = Array(probability.length).fill(false);
  const [staying, speech] = [Math.fround(STAYING_PROBABILITY), Math.fround(SPEECH_PROBABILITY)];
  for (const [begin, end] of runs(Array.from(probability, (value) => value >= staying))) {
    if (end - begin < LEAST_RUN || !probability.subarray(begin, end).some((value) => value >= speech)) continue;
    isSpeech.fill(true, begin, end);
  }
  return isSpeech;
}

/**
 * The stretches of speech, in samples.
 * @param {boolean[]} isSpeech of each chunk
 * @param {number} total samples of the recording
 * @returns {Span[]}
 */
export function speechSpans(isSpeech, total) {
  return runs(isSpeech).map(([begin, end]) => [begin * CHUNK, Math.min(end * CHUNK, total)]);
}

/** @param {Float32Array} samples @param {ChunkLevels} chunks @param {Detector} detector */
async function probabilities(samples, chunks, detector) {
  const gains = levels(chunks).map((level) => LEVEL / level);
  const total = chunks.means.length;
  const found = [];
  for (let start = 0; start < total; start += BLOCK) {
    const end = Math.min(start + BLOCK, total);
    /** @type {Span} */
    const before = start > 0 ? [start - WARM_UP, start] : [0, Math.min(WARM_UP, end)];
    const parts = [before, [start, end]].map(([from, to]) => even(samples, chunks.means, gains, from, to));
    const heard = concatenated([new Float32Array(CONTEXT), ...parts]);
    const count = before[1] - before[0] + end - start;
    const rows = new Float32Array(count * (CONTEXT + CHUNK));
    for (let i = 0; i < count; i += 1) {
      rows.set(heard.subarray(i * CHUNK, (i + 1) * CHUNK + CONTEXT), i * (CONTEXT + CHUNK));
    }
    found.push((await detector(rows, count)).slice(before[1] - before[0]));
  }
  return concatenated(found);
}

/**
 * The samples of some chunks without their offset and at one level, filled up with zeros to whole chunks.
 * @param {Float32Array} samples
 * @param {Float64Array} offsets in the middle of each chunk
 * @param {Float64Array} gains likewise
 * @param {number} begin first chunk
 * @param {number} end the one after the last
 */
function even(samples, offsets, gains, begin, end) {
  const found = new Float32Array((end - begin) * CHUNK);
  const last = offsets.length - 1;
  for (let chunk = begin; chunk < end; chunk += 1) {
    const [before, after] = [Math.max(chunk - 1, 0), Math.min(chunk + 1, last)];
    for (let i = 0; i < CHUNK && chunk * CHUNK + i < samples.length; i += 1) {
      const place = (i + 0.5) / CHUNK - 0.5; // from the middle of the chunk, in chunks
      const offset = between(offsets, before, chunk, after, place);
      found[(chunk - begin) * CHUNK + i] = (samples[chunk * CHUNK + i] - offset) * between(gains, before, chunk, after, place);
    }
  }
  return found;
}

/**
 * On the line from the middle of a chunk to the next one's.
 * @param {Float64Array} values
 * @param {number} before
 * @param {number} here
 * @param {number} after
 * @param {number} place from the middle, in chunks
 */
function between(values, before, here, after, place) {
  return values[here] + (place < 0 ? (values[here] - values[before]) * place : (values[after] - values[here]) * place);
}

/** How loud the louder chunks around each one are, those that are not silent. @param {ChunkLevels} chunks */
function levels(chunks) {
  const swings = chunks.lows.map((low, i) => (chunks.isSilent[i] ? 0 : (chunks.highs[i] - low) / 2));
  const least = DEPTH * higherQuantile(swings.filter((swing) => swing > 0), 1 - LOUDEST_SHARE);
  return swings.map((_, i) => {
    const heard = swings.subarray(Math.max(0, i - AROUND), i + AROUND + 1).filter((swing) => swing > 0).sort();
    // Of nothing that is heard the level is 0, as it is of the lower of those that are.
    const level = heard.length > 0 ? heard[heard.length - 1 - Math.trunc(LOUDER_SHARE * heard.length)] : 0;
    return Math.max(level, least);
  });
}
