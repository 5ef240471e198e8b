/**
 * Compares pairs of wav files by the package, with the model of this checkout, for tests and benchmarks of it.
 *
 * Each line of the standard input is an object with the paths `a` and `b`, and perhaps `options`; each line that is
 * printed is the comparison of one, with `ms` that it took, or an object with `error` and `code`. With --keep, what was
 * heard of a file is kept for the next pair that it is in.
 */

import { createInterface } from "node:readline";
import { load } from "../src/index.js";

const weights = new URL("../../src/sound_groove/weights/", import.meta.url);
const verifier = await load({
  model: new URL("pretrained.onnx", weights),
  detector: new URL("speech_detector.onnx", weights),
  familiar: new URL("familiar_speech.json", weights),
});
const [keeps, kept] = [process.argv.includes("--keep"), new Map()];

async function hear(path, name) {
  if (!keeps) return path;
  if (!kept.has(path)) kept.set(path, await verifier.hear(path, { name }));
  return kept.get(path);
}

for await (const line of createInterface({ input: process.stdin })) {
  const { a, b, options = {} } = JSON.parse(line);
  const begun = performance.now();
  try {
    const sides = [await hear(a, "the first recording"), await hear(b, "the second recording")];
    const comparison = await verifier.compare(...sides, options);
    console.log(JSON.stringify({ ...comparison, ms: performance.now() - begun }));
  } catch (error) {
    console.log(JSON.stringify({ error: error.message, code: error.code ?? error.name }));
  }
}
