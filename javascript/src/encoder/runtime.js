/** onnxruntime-web, and the files that are computed by it. */

import { speech } from "../constants.js";
import { ModelError } from "../errors.js";

/** @typedef {typeof import("onnxruntime-web/wasm")} Runtime */
/** @typedef {(loaded: number, total: number) => void} Progress bytes so far, and those that are known of */

const { CHUNK, CONTEXT, STATE } = speech;
export const isNode = typeof process !== "undefined" && Boolean(process.versions?.node);

/**
 * Bytes of a file: given, or behind an address.
 * @param {string | URL | ArrayBuffer | Uint8Array} place
 * @param {(loaded: number, total: number) => void} progress of this file
 * @param {AbortSignal} [signal]
 * @returns {Promise<Uint8Array>}
 * @throws {ModelError} it cannot be had
 */
export async function bytesOf(place, progress = () => {}, signal = undefined) {
  if (place instanceof ArrayBuffer) return new Uint8Array(place);
  if (place instanceof Uint8Array) return place;
  if (isNode && (place instanceof URL ? place.protocol === "file:" : !/^https?:/.test(place))) {
    const fs = await import(/* webpackIgnore: true */ /* @vite-ignore */ "node:fs/promises");
    try {
      return new Uint8Array(await fs.readFile(place));
    } catch (error) {
      throw new ModelError(`${place}: there is no such file, or it may not be read (${error})`);
    }
  }
  const response = await fetch(place, { signal }).catch((error) => {
    throw error?.name === "AbortError" ? error : new ModelError(`${place}: cannot be loaded (${error})`);
  });
  if (!response.ok || !response.body) throw new ModelError(`${place}: cannot be loaded (status ${response.status})`);
  const total = Number(response.headers.get("Content-Length") ?? 0);
  /** @type {Uint8Array[]} */
  const parts = [];
  let loaded = 0;
  for (const reader = response.body.getReader(); ;) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    loaded += value.length;
    progress(loaded, Math.max(total, loaded));
  }
  const bytes = new Uint8Array(loaded);
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/**
 * Tell how much of several files is there.
 * @param {Progress | undefined} progress
 * @returns {() => (loaded: number, total: number) => void} for each file what tells of it
 */
export function together(progress) {
  /** @type {{loaded: number, total: number}[]} */
  const files = [];
  return () => {
    const file = { loaded: 0, total: 0 };
    files.push(file);
    return (loaded, total) => {
      Object.assign(file, { loaded, total });
      progress?.(files.reduce((sum, one) => sum + one.loaded, 0), files.reduce((sum, one) => sum + one.total, 0));
    };
  };
}

/**
 * @param {Runtime} runtime
 * @param {Uint8Array} bytes of an ONNX file
 * @returns {Promise<import("onnxruntime-web/wasm").InferenceSession>}
 */
export async function sessionOf(runtime, bytes) {
  try {
    return await runtime.InferenceSession.create(bytes, { executionProviders: ["wasm"], logSeverityLevel: 4 });
  } catch (error) {
    throw new ModelError(`the model cannot be opened by onnxruntime-web: ${error instanceof Error ? error.message : error}`);
  }
}

/**
 * The detector of speech.
 * @param {Runtime} runtime
 * @param {Uint8Array} bytes of speech_detector.onnx
 * @returns {Promise<import("../audio/speech.js").Detector>}
 */
export async function detectorOf(runtime, bytes) {
  const session = await sessionOf(runtime, bytes);
  const run = inTurn();
  return (chunks, count) => run(async () => {
    const state = () => new runtime.Tensor("float32", new Float32Array(STATE), [1, 1, STATE]);
    const rows = new runtime.Tensor("float32", chunks, [count, CONTEXT + CHUNK]);
    const { probability } = await session.run({ chunks: rows, hidden: state(), cell: state() }, ["probability"]);
    return /** @type {Float32Array} */ (probability.data);
  });
}

/** What runs one thing at a time, since a session does not run twice at once. */
export function inTurn() {
  /** @type {Promise<unknown>} */
  let last = Promise.resolve();
  /** @template T @param {() => Promise<T>} work @returns {Promise<T>} */
  return (work) => {
    const next = last.then(work, work);
    last = next.catch(() => {});
    return next;
  };
}
