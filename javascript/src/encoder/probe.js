/** The signal that shows whether a model computes here what it should: `sound_groove.networks.probe`. */

import { limits, probe } from "../constants.js";
import { dot, lengthOf, roundEven } from "../numbers.js";

const { RULE, PROBE_S, _HARMONICS, _SYLLABLES_HZ, _FORMANTS, _MULTIPLIERS } = probe;
const { SAMPLE_RATE } = limits;
const [FIRST, SECOND] = _MULTIPLIERS.map(BigInt); // of splitmix64 (Steele, Lea and Flood 2014)

/**
 * Whether an embedding of the probe is the one that a model file says.
 * @param {any} fields what the file says of its probe; null where it says nothing
 * @param {(samples: Float32Array) => Promise<ArrayLike<number>>} embed all of the samples
 * @returns {Promise<boolean>} true too where the file carries none that is known here
 */
export async function proves(fields, embed) {
  if (fields?.rule !== RULE) return true;
  const found = await embed(probeSignal());
  const cosine = dot(fields.embedding, found) / (lengthOf(fields.embedding) * lengthOf(found));
  return found.length === fields.embedding.length && cosine >= fields.least_cosine;
}

/** 2 s of gliding harmonics under moving formants, in syllables, with noise between them, at 16 kHz. */
export function probeSignal() {
  const count = Math.trunc(PROBE_S * SAMPLE_RATE);
  const signal = new Float64Array(count);
  const centres = new Float64Array(_FORMANTS.length);
  let turns = 0;
  for (let n = 0; n < count; n += 1) {
    const t = n / SAMPLE_RATE;
    const pitch = 140 + 30 * Math.sin(2 * Math.PI * 0.7 * t); // Hz
    turns += pitch;
    const phase = (2 * Math.PI * turns) / SAMPLE_RATE;
    for (let i = 0; i < centres.length; i += 1) {
      centres[i] = _FORMANTS[i][0] + _FORMANTS[i][1] * Math.sin(2 * Math.PI * (i + 1) * t);
    }
    let voice = 0;
    for (let number = 1; number <= _HARMONICS; number += 1) {
      let level = 0;
      for (let i = 0; i < centres.length; i += 1) {
        const apart = (number * pitch - centres[i]) / _FORMANTS[i][2];
        level += _FORMANTS[i][3] / (1 + apart * apart);
      }
      voice += level * Math.sin(number * phase);
    }
    const syllables = Math.sin(Math.PI * _SYLLABLES_HZ * t) ** 2;
    signal[n] = (voice * syllables) / 6 + 0.02 * noise(n) * (1 - 0.8 * syllables);
  }
  const peak = signal.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  return Float32Array.from(signal, (value) => roundEven(((0.5 * value) / peak) * 32768) / 32768);
}

/** Evenly spread in [-1, 1): a hash of the sample's number, all in integers. @param {number} n */
function noise(n) {
  let hashed = BigInt.asUintN(64, BigInt(n) * FIRST);
  hashed = BigInt.asUintN(64, (hashed ^ (hashed >> 30n)) * SECOND);
  return Number(hashed >> 11n) / 2 ** 52 - 1;
}
