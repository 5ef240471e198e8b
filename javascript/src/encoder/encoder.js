/** The encoder: speech in, one unit-length embedding out, as `sound_groove.encoder.encoder` makes it. */

import { encoder as constants, listener } from "../constants.js";
import { ModelError } from "../errors.js";
import { samplesOf } from "../audio/filterbank.js";
import { levelOfSamples } from "../audio/level.js";
import { withSilence } from "../audio/pauses.js";
import { repeated, windows } from "../audio/pieces.js";
import { lengthOf, rounded } from "../numbers.js";
import { ScoreMap } from "../scoring/calibration.js";
import { metadataOf, withLevel } from "./onnx_file.js";
import { proves } from "./probe.js";
import { inTurn, sessionOf } from "./runtime.js";

const LEAST = samplesOf(constants.MINIMUM_FRAMES); // to which a shorter voice is repeated
const LONGEST = samplesOf(constants.LONGEST_FRAMES); // of a piece

/** @typedef {{embedding: Float32Array, norm: number | null}} Embedded of unit length, and how long it was before */

export class Encoder {
  #session;
  #runtime;
  #run = inTurn();
  #takesLevel;

  /**
   * @param {import("./runtime.js").Runtime} runtime
   * @param {import("onnxruntime-web/wasm").InferenceSession} session
   * @param {Map<string, string>} metadata of the file
   * @param {boolean} takesLevel
   */
  constructor(runtime, session, metadata, takesLevel) {
    this.#runtime = runtime;
    this.#session = session;
    this.#takesLevel = takesLevel;
    const parsed = (/** @type {string} */ key) => JSON.parse(metadata.get(key) ?? "null");
    /** Name and hash of the weights. */
    this.identity = { name: metadata.get("name") ?? "", hash: metadata.get("hash") ?? "" };
    this.embeddingSize = Number(metadata.get("embedding_size"));
    /** How much digital silence is put behind speech, as a share of it. @type {number | null} */
    this.silenceShare = parsed("network")?.silence_share ?? null;
    const fields = parsed("score_map");
    /** From score to evidence; null where the model carries none. @type {ScoreMap | null} */
    this.scoreMap = fields === null ? null : new ScoreMap(fields);
  }

  /**
   * Open a model that `sound-groove export` wrote, and see that it computes here what it should.
   * @param {import("./runtime.js").Runtime} runtime
   * @param {Uint8Array} bytes of the file
   * @returns {Promise<Encoder>}
   * @throws {ModelError} it is no such file, or gives another embedding of its probe
   */
  static async load(runtime, bytes) {
    const metadata = metadataOf(bytes);
    if (!metadata.has("sound_groove") || !metadata.has("hash")) {
      throw new ModelError("the model is not one that 'sound-groove export' or 'sound-groove import' wrote");
    }
    const { bytes: changed, takesLevel } = withLevel(bytes);
    const session = await sessionOf(runtime, changed);
    if (!session.inputNames.includes("waveform")) {
      throw new ModelError("the model takes no waveform; export it without --sherpa");
    }
    const encoder = new Encoder(runtime, session, metadata, takesLevel);
    const probe = JSON.parse(metadata.get("probe") ?? "null");
    if (!await proves(probe, async (samples) => (await encoder.#ofPieces(samples, null)).embedding)) {
      throw new ModelError("the model gives another embedding of its probe than it should: its weights were changed, or it "
        + "is computed wrongly here");
    }
    return encoder;
  }

  /** @param {Float32Array} voice speech with short pauses, at 16 kHz */
  embed(voice) {
    return this.#ofPieces(voice, this.silenceShare);
  }

  /** Without silence behind it, as a part of a recording. @param {Float32Array} samples */
  async embedPart(samples) {
    return (await this.#ofPieces(samples, null)).embedding;
  }

  /**
   * The mean of the unit embeddings of pieces of at most 60 s, and of their norms.
   * @param {Float32Array} voice
   * @param {number | null} share of silence
   * @returns {Promise<Embedded>}
   */
  async #ofPieces(voice, share) {
    const item = repeated(voice, LEAST);
    const pieces = windows(item.length, LONGEST);
    const level = pieces.length > 1 ? levelOfSamples(item) : 0;
    const total = new Float64Array(this.embeddingSize);
    let norms = 0;
    for (const [start, end] of pieces) {
      const { unit, norm } = await this.#ofPiece(withSilence(item.subarray(start, end), share), level);
      unit.forEach((value, i) => { total[i] += value; });
      norms += norm;
    }
    const { unit } = scaled(total);
    const norm = this.#session.outputNames.includes("embedding_norm") ? rounded(norms / pieces.length, listener.NORM_DIGITS) : null;
    return { embedding: Float32Array.from(unit), norm };
  }

  /** @param {Float32Array} piece @param {number} level of the recording that it is a part of; 0: it is the whole */
  async #ofPiece(piece, level) {
    const { Tensor } = this.#runtime;
    /** @type {Object<string, import("onnxruntime-web/wasm").Tensor>} */
    const given = { waveform: new Tensor("float32", piece, [1, piece.length]) };
    if (this.#takesLevel) given.recording_level = new Tensor("float32", Float32Array.of(level), [1]);
    const found = await this.#run(() => this.#session.run(given));
    const { unit, norm } = scaled(Float64Array.from(/** @type {Float32Array} */ (found.embedding.data)));
    return { unit, norm: norm * (found.embedding_norm ? Number(found.embedding_norm.data[0]) : 1) };
  }
}

/** A row at unit length, and its length before. @param {Float64Array} row */
function scaled(row) {
  const norm = lengthOf(row);
  if (!(norm > 0 && norm < Infinity)) throw new ModelError("the model gave an embedding that is not finite or is zero");
  return { unit: row.map((value) => value / norm), norm };
}
