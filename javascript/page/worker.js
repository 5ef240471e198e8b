/** What hears and compares, away from the page, so that the page goes on moving; see client.js for what is asked. */

import * as runtime from "../onnxruntime/ort.wasm.bundle.min.js";
import { load } from "../sound-groove/src/index.js";
import { answer } from "./local.js";

/** @type {Promise<import("../src/verifier.js").Verifier> | null} */
let verifier = null;

/** Loaded when it is first needed. */
function loaded() {
  verifier ??= load({
    runtime,
    model: new URL("../weights/pretrained.onnx", import.meta.url),
    detector: new URL("../weights/speech_detector.onnx", import.meta.url),
    familiar: new URL("../weights/familiar_speech.json", import.meta.url),
    wasm: new URL("../onnxruntime/ort-wasm-simd-threaded.wasm", import.meta.url),
    progress: (bytes, total) => postMessage({ progress: { bytes, total } }),
  }).then((one) => {
    postMessage({ progress: null });
    return one;
  }, (error) => {
    verifier = null; // so that the next question tries again
    postMessage({ progress: null });
    throw error;
  });
  return verifier;
}

onmessage = async ({ data: { id, question } }) => {
  try {
    postMessage({ id, answer: await answer(question, loaded) });
  } catch (error) {
    const { name, message, code, values, refusals } = /** @type {any} */ (error);
    postMessage({ id, error: { name, message, code, values, refusals } });
  }
};
