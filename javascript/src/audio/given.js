/** What a recording may be, and the samples in it at its own rate. */

import { AudioError, UsageError } from "../errors.js";
import { ratesOf } from "./native_rate.js";
import { decodeWav, isWav } from "./wav.js";

/**
 * @typedef {object} Sound
 * @property {Float32Array | Float32Array[]} samples one row, or one for each channel, full scale at 1
 * @property {number} sampleRate theirs, in Hz
 * @property {string | null} [name] what warnings call it
 * @property {number} [sourceSampleRate] of what was recorded, where that is another
 * @property {{code: string, message: string}[]} [warnings] what is known to be wrong with it
 */

/**
 * @typedef {Float32Array | Sound | ArrayBuffer | Uint8Array | Blob | string} AnyRecording samples alone are mono at 16 kHz;
 *     bytes are those of an audio file; a text is the path of one, in Node alone
 * @typedef {{channels: Float32Array[], sampleRate: number, sourceSampleRate: number, name: string | null,
 *     warnings: {code: string, message: string}[]}} Opened at `sampleRate`; `sourceSampleRate` is what the file says of
 *     what was recorded
 */

const DEFAULT_RATE = 16000;
const UNKNOWN_RATE = 48000; // to decode at where a header is not looked into, such as that of m4a and webm
const CONTEXT_RATES = [8000, 96000]; // that every browser has (Web Audio API)

/**
 * @param {AnyRecording} recording
 * @param {string} called what to call it where it has no name
 * @returns {Promise<Opened>}
 * @throws {AudioError} it cannot be read
 * @throws {UsageError} it is something else
 */
export async function opened(recording, called) {
  if (recording instanceof Float32Array) {
    return { channels: [recording], sampleRate: DEFAULT_RATE, sourceSampleRate: DEFAULT_RATE, name: null, warnings: [] };
  }
  if (typeof recording === "string") return decoded(await readFile(recording), recording);
  if (recording instanceof ArrayBuffer) return decoded(new Uint8Array(recording), null, called);
  if (recording instanceof Uint8Array) return decoded(recording, null, called);
  if (typeof Blob !== "undefined" && recording instanceof Blob) {
    const name = "name" in recording ? String(recording.name) : null;
    return decoded(new Uint8Array(await recording.arrayBuffer()), name, called);
  }
  if (recording && typeof recording === "object" && "samples" in recording) {
    const { samples, sampleRate, name = null, sourceSampleRate = sampleRate, warnings = [] } = recording;
    const channels = Array.isArray(samples) ? samples : [samples];
    if (Number.isFinite(sampleRate) && channels.length > 0 && channels.every((one) => one instanceof Float32Array)) {
      return { channels, sampleRate, sourceSampleRate, name, warnings };
    }
  }
  throw new UsageError(`${called} must be a Float32Array at 16 kHz, { samples, sampleRate }, the bytes of an audio file, `
    + "a Blob, or in Node the path of a file");
}

/** @param {string} path @returns {Promise<Uint8Array>} */
async function readFile(path) {
  if (typeof process === "undefined" || !process.versions?.node) {
    throw new UsageError(`'${path}' is a path, and a browser opens none: give a File, or the bytes that fetch brings`);
  }
  const fs = await import(/* webpackIgnore: true */ /* @vite-ignore */ "node:fs/promises");
  try {
    return new Uint8Array(await fs.readFile(path));
  } catch (error) {
    const isMissing = error instanceof Error && "code" in error && error.code === "ENOENT";
    throw new AudioError(path, isMissing ? "no such file; check the name and the folder" : `could not be read (${error})`);
  }
}

/** @param {Uint8Array} bytes @param {string | null} name @param {string} called @returns {Promise<Opened>} */
async function decoded(bytes, name, called = name ?? "") {
  const sayable = name ?? called;
  if (bytes.length === 0) throw new AudioError(sayable, "is empty: it has no bytes", "empty");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (isWav(view)) {
    const { channels, sampleRate, warnings } = decodeWav(view, sayable);
    return { channels, sampleRate, sourceSampleRate: sampleRate, name, warnings };
  }
  if (typeof OfflineAudioContext === "undefined") {
    throw new AudioError(sayable, "is no wav, and only a browser decodes other files here; convert it to wav", "foreign_format");
  }
  const rates = ratesOf(view);
  const [lowest, highest] = CONTEXT_RATES;
  const rate = rates && rates.decode >= lowest && rates.decode <= highest ? rates.decode : UNKNOWN_RATE;
  const context = new OfflineAudioContext(1, 1, rate);
  try {
    const buffer = await context.decodeAudioData(bytes.slice().buffer);
    const channels = Array.from({ length: buffer.numberOfChannels }, (_, i) => buffer.getChannelData(i));
    return { channels, sampleRate: buffer.sampleRate, sourceSampleRate: rates?.source ?? rate, name, warnings: [] };
  } catch {
    throw new AudioError(sayable, "is not audio, or of a kind that this browser cannot decode", "not_audio");
  }
}
