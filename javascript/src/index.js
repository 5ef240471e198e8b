/**
 * Sound-Groove in JavaScript: are two recordings of the same person?
 *
 *     import { compare } from "sound-groove";
 *     const { verdict, llr, probability } = await compare(a, b);
 *
 * It answers as Sound-Groove in Python does, with the same model, in a browser or in Node; nothing leaves the machine.
 */

import { load, Verifier } from "./verifier.js";

export { AudioError, ModelError, OtherModelError, SoundGrooveError, UsageError } from "./errors.js";
export { load, Verifier };

/**
 * @typedef {import("./audio/given.js").AnyRecording} AnyRecording
 * @typedef {import("./audio/given.js").Sound} Sound
 * @typedef {import("./audio/listening.js").AudioFacts} AudioFacts
 * @typedef {import("./audio/listening.js").HeardRecording} HeardRecording
 * @typedef {import("./audio/quality.js").Warning} Warning
 * @typedef {import("./comparison.js").Comparison} Comparison
 * @typedef {import("./comparison.js").CompareOptions} CompareOptions
 * @typedef {import("./scoring/decision.js").DecisionRule} DecisionRule
 * @typedef {import("./verifier.js").LoadOptions} LoadOptions
 * @typedef {import("./verifier.js").Voiceprint} Voiceprint
 */

/** @type {Promise<Verifier> | null} */
let shared = null;

/** The verifier with the model of the package, loaded once. */
function verifier() {
  shared ??= load().catch((error) => {
    shared = null; // so that another try is one
    throw error;
  });
  return shared;
}

/**
 * Are two recordings of the same speaker? By the model of the package, which is loaded when it is first used.
 * @param {AnyRecording | HeardRecording} a
 * @param {AnyRecording | HeardRecording} b
 * @param {CompareOptions & {channel?: number | null}} [options]
 * @returns {Promise<Comparison>}
 */
export async function compare(a, b, options = {}) {
  return (await verifier()).compare(a, b, options);
}

/**
 * The embedding of a recording, (192,) of unit length, by the model of the package.
 * @param {AnyRecording} recording
 * @param {import("./verifier.js").HearOptions} [options]
 * @returns {Promise<Float32Array>}
 */
export async function embed(recording, options = {}) {
  return (await verifier()).embed(recording, options);
}
