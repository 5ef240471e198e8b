/** One recording, heard: what is known of it, what makes it less trustworthy, and its embedding once it has one. */

import { limits, listening } from "../constants.js";
import { assess, secondsText } from "./quality.js";
import { readRecording } from "./reading.js";

/** @typedef {import("./pieces.js").Span} Span */
/** @typedef {import("./quality.js").Warning} Warning */

/**
 * @typedef {object} AudioFacts what one recording was, with the names that Python, the program and the service use
 * @property {number} duration_s its length
 * @property {number} speech_s how much of it is speech
 * @property {number} snr_db how far the speech lies above the noise, an estimate
 * @property {number} sample_rate the file's own rate, in Hz
 * @property {number | null} embedding_norm how long its embedding was before it was brought to unit length
 * @property {number | null} unfamiliarity how unlike known speech it sounds, log odds; null where there is too little
 */

/**
 * @typedef {object} HeardRecording
 * @property {string} name what warnings call it
 * @property {AudioFacts} facts
 * @property {Warning[]} warnings what makes it less trustworthy, each with the recording's name
 * @property {string} digest SHA-256 of its samples (hexadecimal)
 * @property {Span[]} speech the stretches of speech in it, in samples at 16 kHz
 * @property {Float32Array} samples mono at 16 kHz
 * @property {Float32Array | null} embedding of unit length; null until it is embedded
 * @property {Span[][]} voices where several were found, the stretches of each
 * @property {string | null} model the hash of the model that embedded it
 */

const { MINIMUM_SPEECH_S, NO_VERDICT } = listening;

/**
 * Decode and judge a recording.
 * @param {import("./given.js").AnyRecording} recording
 * @param {string} called what to call it where it has no name
 * @param {import("./quality.js").Ears} ears
 * @param {number | null} channel which one to listen to, counted from 1; null averages all
 * @returns {Promise<HeardRecording>}
 * @throws {import("../errors.js").AudioError} it cannot be used
 */
export async function hear(recording, called, ears, channel = null) {
  const decoded = await readRecording(recording, called, channel);
  const { samples, sourceSampleRate, name } = decoded;
  const quality = await assess(samples, sourceSampleRate, ears);
  /** @type {AudioFacts} */
  const facts = {
    duration_s: samples.length / limits.SAMPLE_RATE,
    speech_s: quality.speechS,
    snr_db: quality.snrDb,
    sample_rate: sourceSampleRate,
    embedding_norm: null,
    unfamiliarity: quality.unfamiliarity,
  };
  const warnings = warningsOf(name, facts, [...decoded.warnings, ...quality.warnings]);
  const digest = await digestOf(samples);
  return { name, facts, warnings, digest, speech: quality.speech, samples, embedding: null, voices: [], model: null };
}

/** Whether there is enough speech for a verdict. @param {AudioFacts} facts */
export function allowsVerdict(facts) {
  return facts.speech_s >= MINIMUM_SPEECH_S;
}

/** Whether none of these warnings leaves no verdict. @param {Warning[]} warnings */
export function allowVerdict(warnings) {
  return !warnings.some(({ code }) => NO_VERDICT.includes(code));
}

/**
 * What was found, under the recording's name, and one warning more where it has too little speech for a verdict.
 * @param {string} name
 * @param {AudioFacts} facts
 * @param {Warning[]} found
 * @returns {Warning[]}
 */
function warningsOf(name, facts, found) {
  const named = found.map(({ code, message }) => ({ code, message: `${name}: ${message}` }));
  if (allowsVerdict(facts)) return named;
  const amount = facts.speech_s > 0 ? `only ${secondsText(facts.speech_s)} of speech was` : "no speech was";
  const message = `${name}: ${amount} found, and a verdict needs ${MINIMUM_SPEECH_S} s; give a longer recording`;
  // It says what little_speech says, and what follows from it.
  return [{ code: "too_little_speech", message }, ...named.filter(({ code }) => code !== "little_speech")];
}

/**
 * The facts of several recordings of one voice as if they were one: `sound_groove.audio.listening.joint_facts`.
 * @param {AudioFacts[]} parts at least one
 * @returns {AudioFacts}
 */
export function jointFacts(parts) {
  const total = (/** @type {number[]} */ values) => values.reduce((sum, value) => sum + value, 0);
  const norms = parts.flatMap(({ embedding_norm: norm }) => (norm === null ? [] : [norm]));
  const unlike = parts.flatMap(({ unfamiliarity }) => (unfamiliarity === null ? [] : [unfamiliarity]));
  return {
    duration_s: total(parts.map((part) => part.duration_s)),
    speech_s: total(parts.map((part) => part.speech_s)),
    snr_db: total(parts.map((part) => part.snr_db)) / parts.length,
    sample_rate: Math.min(...parts.map((part) => part.sample_rate)),
    embedding_norm: norms.length === parts.length ? total(norms) / norms.length : null,
    unfamiliarity: unlike.length > 0 ? Math.max(...unlike) : null,
  };
}

/** SHA-256 of samples, as little-endian float32. @param {Float32Array} samples */
async function digestOf(samples) {
  const bytes = samples.slice().buffer; // typed arrays are little-endian wherever this runs
  if (!globalThis.crypto?.subtle) return localDigest(bytes);
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(hash, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** On a page without https there is no SHA-256: what tells the same audio apart on this machine alone. @param {ArrayBuffer} bytes */
function localDigest(bytes) {
  let [a, b] = [0x811c9dc5, 0x01000193];
  for (const byte of new Uint8Array(bytes)) {
    a = Math.imul(a ^ byte, 0x01000193);
    b = Math.imul(b + byte, 0x5bd1e995) ^ (b >>> 15);
  }
  return [a, b, bytes.byteLength].map((part) => (part >>> 0).toString(16).padStart(8, "0")).join("");
}
