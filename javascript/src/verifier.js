/** The verifier: a model with its detectors, which hears recordings and compares them. */

import { hear, jointFacts } from "./audio/listening.js";
import { withoutPauses } from "./audio/pauses.js";
import { weigh } from "./comparison.js";
import { Encoder } from "./encoder/encoder.js";
import { bytesOf, detectorOf, together } from "./encoder/runtime.js";
import { withVoices } from "./encoder/several_voices.js";
import { OtherModelError, UsageError } from "./errors.js";
import { meanRow } from "./numbers.js";

/** @typedef {import("./audio/given.js").AnyRecording} AnyRecording */
/** @typedef {import("./audio/listening.js").HeardRecording} HeardRecording */
/** @typedef {import("./audio/listening.js").AudioFacts} AudioFacts */
/** @typedef {import("./comparison.js").Comparison} Comparison */
/** @typedef {import("./comparison.js").CompareOptions} CompareOptions */
/** @typedef {{channel?: number | null, name?: string}} HearOptions which channel to listen to, counted from 1 (null averages
 *     all), and what warnings call a recording without a name */

/**
 * @typedef {object} Voiceprint what is kept of a person; it can be stored as it is (structured clone, or JSON)
 * @property {string} model hash of the model that made it
 * @property {{name: string, digest: string, embedding: number[], facts: AudioFacts}[]} recordings
 */

/**
 * @typedef {object} LoadOptions
 * @property {string | URL | ArrayBuffer | Uint8Array} [model] an ONNX file of `sound-groove export`; that of the package
 *     where it is not given
 * @property {string | URL | ArrayBuffer | Uint8Array} [detector] speech_detector.onnx of the package
 * @property {string | URL | ArrayBuffer | Uint8Array} [familiar] familiar_speech.json of the package
 * @property {string | URL | ArrayBuffer | Uint8Array} [wasm] ort-wasm-simd-threaded.wasm of onnxruntime-web; where it is
 *     not given, onnxruntime-web looks for it itself
 * @property {import("./encoder/runtime.js").Runtime} [runtime] onnxruntime-web, where it was imported already
 * @property {number} [threads] that compute; more than one needs a page that is isolated from other origins
 * @property {import("./encoder/runtime.js").Progress} [progress] is told how much was loaded
 * @property {AbortSignal} [signal] gives up loading
 */

export class Verifier {
  /**
   * @param {Encoder} encoder
   * @param {import("./audio/quality.js").Ears} ears
   */
  constructor(encoder, ears) {
    this.encoder = encoder;
    this.ears = ears;
  }

  /** Name and hash of the model. */
  get model() {
    return this.encoder.identity;
  }

  /**
   * Hear a recording: decode it, judge how far it can be trusted, and embed its speech.
   * @param {AnyRecording} recording
   * @param {HearOptions} [options]
   * @returns {Promise<HeardRecording & {embedding: Float32Array}>} which may be compared as often as is wanted
   * @throws {import("./errors.js").AudioError} it cannot be used
   */
  async hear(recording, { channel = null, name = "the recording" } = {}) {
    const heard = await hear(recording, name, this.ears, channel);
    const { embedding, norm } = await this.encoder.embed(withoutPauses(heard.samples, heard.speech));
    const embedded = { ...heard, facts: { ...heard.facts, embedding_norm: norm }, model: this.model.hash };
    return { ...await withVoices(embedded, this.encoder), embedding };
  }

  /**
   * The embedding of a recording.
   * @param {AnyRecording} recording
   * @param {HearOptions} [options]
   * @returns {Promise<Float32Array>} of unit length
   * @throws {import("./errors.js").AudioError} it cannot be used
   */
  async embed(recording, options = {}) {
    return (await this.hear(recording, options)).embedding;
  }

  /**
   * Are two recordings of the same speaker?
   * @param {AnyRecording | HeardRecording} a
   * @param {AnyRecording | HeardRecording} b
   * @param {CompareOptions & {channel?: number | null}} [options]
   * @returns {Promise<Comparison>}
   * @throws {import("./errors.js").AudioError} one of them cannot be used
   */
  async compare(a, b, options = {}) {
    const { channel = null } = options;
    const first = await this.#heard(a, "the first recording", channel);
    const second = await this.#heard(b, "the second recording", channel);
    const warnings = [...first.warnings, ...second.warnings];
    if (first.digest === second.digest) {
      const message = "the two recordings are the same audio, so that the score says nothing about who is speaking";
      warnings.push({ code: "same_audio", message });
    }
    return weigh(this.encoder, [first, second], warnings, options);
  }

  /**
   * What is to be kept of a person, of one recording or several; added to what is kept already.
   * @param {(AnyRecording | HeardRecording)[]} recordings
   * @param {Voiceprint | null} [known]
   * @returns {Promise<Voiceprint>}
   * @throws {import("./errors.js").AudioError} one of them cannot be used
   * @throws {UsageError} one of them allows no verdict
   */
  async enroll(recordings, known = null) {
    if (known) this.#check(known.model);
    const kept = [...known?.recordings ?? []];
    for (const recording of recordings) {
      const { name, digest, embedding, facts, warnings } = await this.#heard(recording, "the recording", null);
      const unfit = warnings.find(({ code }) => code === "too_little_speech" || code === "channels_differ" || code === "several_voices");
      if (unfit) throw new UsageError(`nobody can be enrolled from this: ${unfit.message}`);
      if (kept.some((one) => one.digest === digest)) continue;
      kept.push({ name, digest, embedding: [...embedding], facts: { ...facts, unfamiliarity: null } });
    }
    if (kept.length === 0) throw new UsageError("nobody can be enrolled from no recordings");
    return { model: this.model.hash, recordings: kept };
  }

  /**
   * Is a recording of the person whose voiceprint this is?
   * @param {Voiceprint} voiceprint
   * @param {AnyRecording | HeardRecording} recording
   * @param {CompareOptions & {channel?: number | null}} [options]
   * @returns {Promise<Comparison>} of what is enrolled (first) with the recording (second): its score is the mean of the
   *     cosines of the recording with those enrolled
   * @throws {OtherModelError} another model made the voiceprint
   */
  async verify(voiceprint, recording, options = {}) {
    this.#check(voiceprint.model);
    const heard = await this.#heard(recording, "the recording", options.channel ?? null);
    const warnings = [...heard.warnings];
    if (voiceprint.recordings.some(({ digest }) => digest === heard.digest)) {
      const message = `${heard.name}: this very recording is enrolled, so that its score says nothing about who is speaking`;
      warnings.push({ code: "enrolled_recording", message });
    }
    const embedding = meanRow(voiceprint.recordings.map((one) => one.embedding));
    const facts = jointFacts(voiceprint.recordings.map((one) => one.facts));
    return weigh(this.encoder, [{ embedding, facts }, heard], warnings, options);
  }

  /** @param {AnyRecording | HeardRecording} side @param {string} name @param {number | null} channel */
  async #heard(side, name, channel) {
    if (side && typeof side === "object" && "digest" in side) {
      if (!side.embedding) throw new UsageError(`${side.name}: was not embedded; give what 'hear' of a verifier gave`);
      this.#check(side.model ?? "");
      return /** @type {HeardRecording & {embedding: Float32Array}} */ (side);
    }
    return this.hear(side, { name, channel });
  }

  /** @param {string} hash */
  #check(hash) {
    if (hash === this.model.hash) return;
    throw new OtherModelError(`it was embedded by model ${hash.slice(0, 12)}, and this is ${this.model.hash.slice(0, 12)}`);
  }
}

/**
 * Load a model with its detectors. Nothing but these files is asked for, here or later.
 * @param {LoadOptions} [options]
 * @returns {Promise<Verifier>}
 * @throws {import("./errors.js").ModelError} a file cannot be had, or is not what it should be
 */
export async function load(options = {}) {
  const told = together(options.progress);
  const files = [
    options.model ?? new URL("../weights/pretrained.onnx", import.meta.url),
    options.detector ?? new URL("../weights/speech_detector.onnx", import.meta.url),
    options.familiar ?? new URL("../weights/familiar_speech.json", import.meta.url),
  ].map((file) => bytesOf(file, told(), options.signal));
  const wasm = options.wasm ? bytesOf(options.wasm, told(), options.signal) : null;
  const runtime = options.runtime ?? await import("onnxruntime-web/wasm");
  const [model, detector, familiar] = await Promise.all(files);
  if (wasm) runtime.env.wasm.wasmBinary = (await wasm).slice().buffer;
  runtime.env.wasm.numThreads = options.threads ?? 1;
  const speech = await detectorOf(runtime, detector);
  const encoder = await Encoder.load(runtime, model);
  return new Verifier(encoder, { speech, familiar: JSON.parse(new TextDecoder().decode(familiar)) });
}
