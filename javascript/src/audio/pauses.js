/** What of a recording is embedded: its speech with short pauses, and some digital silence behind it. */

import { limits, pauses } from "../constants.js";
import { concatenated, roundEven } from "../numbers.js";

/** @typedef {import("./pieces.js").Span} Span */

const { AROUND_S, FADE_S, LEAST_S } = pauses;
const { SAMPLE_RATE } = limits;

/**
 * The speech of a recording with short pauses; a recording without long ones is given back as it is.
 * @param {Float32Array} samples mono at 16 kHz
 * @param {Span[]} speech stretches of speech in it
 */
export function withoutPauses(samples, speech) {
  return joined(keptSpans(speech, samples.length).map(([start, end]) => samples.subarray(start, end)));
}

/**
 * Speech, and behind it so many times as much digital silence; none where the share is null.
 * @param {Float32Array} voice
 * @param {number | null} share
 */
export function withSilence(voice, share) {
  return share === null ? voice : concatenated([voice, new Float32Array(roundEven(share * voice.length))]);
}

/**
 * What is kept of a recording: stretches that do not touch each other; all of it where there is too little speech.
 * @param {Span[]} speech stretches of speech, by their beginnings
 * @param {number} total samples of the recording
 * @param {number} aroundS kept before and after each stretch
 * @returns {Span[]}
 */
export function keptSpans(speech, total, aroundS = AROUND_S) {
  const spoken = speech.reduce((sum, [start, end]) => sum + end - start, 0);
  if (spoken < LEAST_S * SAMPLE_RATE) return [[0, total]];
  const around = Math.trunc(aroundS * SAMPLE_RATE);
  /** @type {Span[]} */
  const kept = [];
  for (const [start, end] of speech) {
    const [first, last] = [Math.max(0, start - around), Math.min(total, end + around)];
    const before = kept.at(-1);
    if (before && first <= before[1]) before[1] = last;
    else kept.push([first, last]);
  }
  return kept;
}

/**
 * Stretches one after the other, the end of each faded into the beginning of the next.
 * @param {Float32Array[]} stretches at least one
 */
export function joined(stretches) {
  if (stretches.length === 1) return stretches[0];
  const parts = [stretches[0]];
  for (const stretch of stretches.slice(1)) {
    const before = /** @type {Float32Array} */ (parts.pop());
    const fade = Math.min(Math.trunc(FADE_S * SAMPLE_RATE), before.length, stretch.length);
    const kept = before.length - fade;
    const faded = new Float32Array(fade);
    for (let i = 0; i < fade; i += 1) {
      const rising = i / fade;
      faded[i] = before[kept + i] * (1 - rising) + stretch[i] * rising;
    }
    parts.push(before.subarray(0, kept), faded, stretch.subarray(fade));
  }
  return concatenated(parts);
}

/**
 * The parts of a recording that a window of what is kept of it consists of.
 * @param {Span[]} kept stretches of the recording
 * @param {Span} window counted in the kept stretches alone
 * @returns {Span[]}
 */
export function within(kept, [from, to]) {
  /** @type {Span[]} */
  const found = [];
  let passed = 0;
  for (const [start, end] of kept) {
    const [first, last] = [Math.max(from - passed, 0), Math.min(to - passed, end - start)];
    if (first < last) found.push([start + first, start + last]);
    passed += end - start;
  }
  return found;
}
