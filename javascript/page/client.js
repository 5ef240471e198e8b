/** Questions of the page, answered by a worker of this browser: it takes the place of the service's client.js. */

import { opened } from "../sound-groove/src/audio/given.js";
import { known } from "./language.js";
import { Problem } from "./problems.js";

/** @type {Worker | null} made when the first question is asked */
let worker = null;
/** @type {Map<number, {resolve: (answer: any) => void, reject: (error: any) => void}>} */
const waiting = new Map();
let count = 0;

function begun() {
  if (worker) return worker;
  worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
  worker.onmessage = ({ data: { id, answer, error, progress } }) => {
    if (progress !== undefined) {
      document.dispatchEvent(new CustomEvent("loading", { detail: progress }));
      return;
    }
    const question = waiting.get(id);
    waiting.delete(id);
    if (error) question?.reject(problemOf(error));
    else question?.resolve(answer);
  };
  worker.onerror = (event) => {
    console.error(event.message);
    for (const { reject } of waiting.values()) reject(new Problem("error_worker"));
    waiting.clear();
    worker = null; // so that the next question tries again
  };
  return worker;
}

/**
 * Ask, as the page asks the service.
 * @param {string} path
 * @param {{method?: string, form?: FormData, signal?: AbortSignal}} question
 * @returns {Promise<any>}
 * @throws {Problem} it is refused
 * @throws {DOMException} named AbortError: the signal said so
 */
export async function ask(path, { method = "GET", form = new FormData(), signal } = {}) {
  const [address] = path.split("?");
  const question = { method, path: address.split("/").slice(1).map(decodeURIComponent), texts: {}, recordings: [] };
  for (const [name, value] of form) {
    if (value instanceof File) question.recordings.push(await recordingOf(name, value));
    else question.texts[name] = value;
  }
  signal?.throwIfAborted();
  count += 1;
  const id = count;
  return new Promise((resolve, reject) => {
    signal?.addEventListener("abort", () => reject(signal.reason));
    waiting.set(id, { resolve, reject });
    begun().postMessage({ id, question });
  });
}

/** A file as the worker takes it: decoded here, since a worker has no decoders. @param {string} name @param {File} file */
async function recordingOf(name, file) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  const key = keyOf(bytes);
  const given = { name, key, file: file.name };
  try {
    const { channels, sampleRate, sourceSampleRate, warnings } = await opened(bytes, name);
    return { ...given, sound: { samples: channels, sampleRate, sourceSampleRate, warnings } };
  } catch (error) {
    const { code, reason, values } = error;
    if (reason === undefined) throw error;
    const recording = name === "audio" ? file.name : name;
    throw new Problem("as_said", { message: error.message }, [{ recording, code, reason, values }]);
  }
}

/** By which a file is known again. @param {Uint8Array} bytes */
function keyOf(bytes) {
  let [a, b] = [0x811c9dc5, 0x01000193];
  for (let i = 0; i < bytes.length; i += 1) {
    a = Math.imul(a ^ bytes[i], 0x01000193);
    b = Math.imul(b + bytes[i], 0x5bd1e995) ^ (b >>> 15);
  }
  return `${a} ${b} ${bytes.length}`;
}

/** @param {{name: string, message: string, code?: string, refusals?: object[]}} error of the worker */
function problemOf({ name, message, code, refusals = [] }) {
  if (name === "ModelError") return new Problem("error_model", { message });
  if (code === undefined) {
    console.error(message); // a mistake of this page: its developer wants to see it
    return new Problem("error_page");
  }
  return new Problem(known(`error_${code}`) ? `error_${code}` : "as_said", { message }, refusals);
}
