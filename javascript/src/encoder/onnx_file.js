/**
 * What an ONNX file says of itself, which onnxruntime-web does not tell, and its level as an input, which it does not
 * take: both from the bytes of the file (protocol buffers).
 */

import { ModelError } from "../errors.js";

const [GRAPH, METADATA, INITIALIZER, TENSOR_NAME] = [7, 14, 5, 8]; // numbers of fields in ModelProto, GraphProto, TensorProto
const LEVEL = "recording_level";

/** @typedef {{number: number, start: number, begin: number, end: number}} Field from its tag on; of its content alone */

/**
 * @param {Uint8Array} bytes of the file
 * @returns {Map<string, string>} what it says of itself
 * @throws {ModelError} it is no ONNX file
 */
export function metadataOf(bytes) {
  const text = new TextDecoder();
  /** @type {Map<string, string>} */
  const found = new Map();
  for (const field of fieldsOf(bytes, 0, bytes.length)) {
    if (field.number !== METADATA) continue;
    const parts = [...fieldsOf(bytes, field.begin, field.end)].map(({ begin, end }) => text.decode(bytes.subarray(begin, end)));
    found.set(parts[0], parts[1] ?? "");
  }
  return found;
}

/**
 * The file with the level of the recording as an input that must be given, where it was one with a default.
 * @param {Uint8Array} bytes
 * @returns {{bytes: Uint8Array, takesLevel: boolean}}
 */
export function withLevel(bytes) {
  const text = new TextDecoder();
  for (const graph of fieldsOf(bytes, 0, bytes.length)) {
    if (graph.number !== GRAPH) continue;
    for (const field of fieldsOf(bytes, graph.begin, graph.end)) {
      if (field.number !== INITIALIZER) continue;
      const named = [...fieldsOf(bytes, field.begin, field.end, TENSOR_NAME)][0];
      if (!named || text.decode(bytes.subarray(named.begin, named.end)) !== LEVEL) continue;
      const length = varint(graph.end - graph.begin - (field.end - field.start));
      const parts = [bytes.subarray(0, graph.start), Uint8Array.of((GRAPH << 3) | 2, ...length),
        bytes.subarray(graph.begin, field.start), bytes.subarray(field.end)];
      const changed = new Uint8Array(parts.reduce((total, part) => total + part.length, 0));
      let place = 0;
      for (const part of parts) {
        changed.set(part, place);
        place += part.length;
      }
      return { bytes: changed, takesLevel: true };
    }
  }
  return { bytes, takesLevel: false };
}

/**
 * The fields of a message.
 * @param {Uint8Array} bytes
 * @param {number} from
 * @param {number} to
 * @param {number | null} only these; null: all
 * @returns {Generator<Field>}
 */
function* fieldsOf(bytes, from, to, only = null) {
  let place = from;
  const next = () => {
    let [value, scale] = [0, 1];
    for (;;) {
      if (place >= to) throw new ModelError("the model is no ONNX file, or was cut off");
      const byte = bytes[place];
      place += 1;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
      scale *= 128;
    }
  };
  while (place < to) {
    const start = place;
    const tag = next();
    const [number, kind] = [Math.floor(tag / 8), tag % 8];
    let begin = place;
    if (kind === 0) next();
    else if (kind === 2) {
      const length = next();
      begin = place;
      place += length;
    } else if (kind === 1 || kind === 5) place += kind === 1 ? 8 : 4;
    else throw new ModelError("the model is no ONNX file");
    if (place > to) throw new ModelError("the model is no ONNX file, or was cut off");
    if (only === null || number === only) yield { number, start, begin, end: place };
  }
}

/** @param {number} value */
function varint(value) {
  const bytes = [];
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return [...bytes, rest];
    bytes.push((rest % 128) | 0x80);
  }
}
