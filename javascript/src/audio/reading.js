/** Recordings to mono float32 at 16 kHz, or one clear sentence why not. */

import { limits, sample_checks } from "../constants.js";
import { AudioError } from "../errors.js";
import { withCommas } from "../numbers.js";
import { average, channelFacts } from "./channels.js";
import { opened } from "./given.js";
import { resampled } from "./resampling.js";

/**
 * @typedef {{samples: Float32Array, sourceSampleRate: number, name: string, warnings: {code: string, message: string}[]}}
 *     Decoded mono at 16 kHz
 */

const { SAMPLE_RATE, SAMPLE_RATES, MINIMUM_DURATION_S, MAXIMUM_DURATION_S, MAXIMUM_CHANNELS } = limits;
const { SILENCE_RANGE, CANCELLED_SHARE, MAXIMUM_LEVEL } = sample_checks;

/**
 * @param {import("./given.js").AnyRecording} recording
 * @param {string} called what to call it where it has no name
 * @param {number | null} channel which one to listen to, counted from 1; null averages all
 * @returns {Promise<Decoded>}
 * @throws {AudioError} it cannot be used
 */
export async function readRecording(recording, called, channel = null) {
  const { channels, sampleRate, sourceSampleRate, name, warnings } = await opened(recording, called);
  const sayable = name ?? called;
  checkForm(sayable, sampleRate, channels.length);
  checkLength(sayable, channels[0].length / sampleRate);
  if (channel !== null && !(Number.isInteger(channel) && channel >= 1 && channel <= channels.length)) {
    throw new AudioError(sayable, `there is no channel ${channel}: it has ${channels.length}`);
  }
  const selected = channel === null ? channels : [channels[channel - 1]];
  const mono = average(selected);
  checkFinite(sayable, mono);
  const facts = selected.length > 1 ? channelFacts(selected, sampleRate) : null;
  checkLevels(sayable, mono, selected, facts?.cancel ?? false);
  const mixed = facts?.differing ? [differingWarning(facts.differing)] : [];
  const samples = resampled(mono, Math.round(sampleRate), SAMPLE_RATE); // files have no fractions of a hertz
  return { samples, sourceSampleRate, name: sayable, warnings: [...mixed, ...warnings] };
}

/** @param {[number, number]} differing */
function differingWarning(differing) {
  const [first, second] = differing.slice().sort((a, b) => a - b);
  const message = `channels ${first} and ${second} carry different sound, as where each side of a call has its own, so there `
    + `is no verdict on their average; choose one (--channel ${first}, or channel=${first})`;
  return { code: "channels_differ", message };
}

/** @param {string} called @param {number} sampleRate @param {number} channels */
function checkForm(called, sampleRate, channels) {
  const [lowest, highest] = SAMPLE_RATES;
  if (!(sampleRate >= lowest && sampleRate <= highest)) {
    const range = `outside ${withCommas(lowest)} to ${withCommas(highest)} Hz`;
    throw new AudioError(called, `has a sample rate of ${withCommas(sampleRate)} Hz, ${range}`);
  }
  if (channels > MAXIMUM_CHANNELS) {
    throw new AudioError(called, `has ${channels} channels, more than ${MAXIMUM_CHANNELS}; keep those with the voice`);
  }
}

/** @param {string} called @param {number} durationS */
function checkLength(called, durationS) {
  if (durationS === 0) throw new AudioError(called, "is empty: it has no samples", "empty");
  if (durationS < MINIMUM_DURATION_S) {
    const reason = `lasts ${durationS.toFixed(3)} s, less than the ${MINIMUM_DURATION_S} s that are needed`;
    throw new AudioError(called, reason, "too_short", { length_s: durationS, least_s: MINIMUM_DURATION_S });
  }
  if (durationS > MAXIMUM_DURATION_S) {
    const reason = `lasts ${(durationS / 3600).toFixed(1)} h, more than ${MAXIMUM_DURATION_S / 3600} h; cut it into parts`;
    throw new AudioError(called, reason, "too_long", { most_s: MAXIMUM_DURATION_S });
  }
}

/** @param {string} called @param {Float32Array} mono */
function checkFinite(called, mono) {
  let most = 0;
  for (const sample of mono) {
    if (!Number.isFinite(sample)) {
      throw new AudioError(called, "holds samples that are NaN or infinite; convert it again from its source");
    }
    if (Math.abs(sample) > most) most = Math.abs(sample);
  }
  if (most > MAXIMUM_LEVEL) {
    throw new AudioError(called, `holds samples as large as ${most.toExponential(1)}, where full scale is 1; scale it down`);
  }
}

/** @param {string} called @param {Float32Array} mono @param {Float32Array[]} channels @param {boolean} cancel */
function checkLevels(called, mono, channels, cancel) {
  const spread = rangeOf(mono);
  const widest = channels.length > 1 ? Math.max(...channels.map(rangeOf)) : 0;
  if (cancel || (widest > SILENCE_RANGE && spread < CANCELLED_SHARE * widest)) {
    throw new AudioError(called, "is next to silent when its channels are averaged, because they cancel each other (opposite "
      + "phase); keep one channel: --channel 1, or channel=1");
  }
  if (spread < SILENCE_RANGE) {
    throw new AudioError(called, "is digital silence: all its samples have the same value", "silent");
  }
}

/** @param {Float32Array} samples */
function rangeOf(samples) {
  let [low, high] = [Infinity, -Infinity];
  for (const sample of samples) {
    if (sample < low) low = sample;
    if (sample > high) high = sample;
  }
  return high - low;
}
