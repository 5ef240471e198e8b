/** Whether more than one person speaks in a recording: `sound_groove.encoder.several_voices`. */

import { limits, several_voices } from "../constants.js";
import { farthestParts } from "../audio/apart.js";
import { joined, keptSpans, within } from "../audio/pauses.js";
import { dot, evenlySpaced, lengthOf, meanRow, median, roundEven } from "../numbers.js";
import { trialMeasures } from "../scoring/measures.js";

/** @typedef {import("../audio/pieces.js").Span} Span */
/** @typedef {import("../audio/listening.js").HeardRecording} HeardRecording */
/** @typedef {ArrayLike<number>} Embedding */

const { WINDOW, SHIFT, LEAST_S, MOST_WINDOWS, AROUND_S, APART, PAIR_LLR, GROUPS_LLR, GROUPS_FALL } = several_voices;
const { LEAST_WINDOWS, STEP, LEAST_TOLD, SHOWN, BRIDGED } = several_voices;
const { SAMPLE_RATE } = limits;

/**
 * A recording with its voices and a warning, where several are found.
 * @param {HeardRecording} heard
 * @param {import("./encoder.js").Encoder} encoder
 * @returns {Promise<HeardRecording>}
 */
export async function withVoices(heard, encoder) {
  const voices = await voicesIn(heard, encoder);
  if (voices.length === 0) return heard;
  const message = `${heard.name}: ${described(voices)}; an embedding of several people is of none of them, so cut it to one `
    + "('sound-groove who' tells who speaks when)";
  return { ...heard, voices, warnings: [...heard.warnings, { code: "several_voices", message }] };
}

/** @param {HeardRecording} heard @param {import("./encoder.js").Encoder} encoder @returns {Promise<Span[][]>} */
async function voicesIn(heard, encoder) {
  const kept = keptSpans(heard.speech, heard.samples.length, AROUND_S);
  const total = kept.reduce((sum, [start, end]) => sum + end - start, 0);
  if (!encoder.scoreMap || heard.facts.speech_s < LEAST_S || total < LEAST_S * SAMPLE_RATE) return [];
  const voice = joined(kept.map(([start, end]) => heard.samples.subarray(start, end)));
  const windows = windowsOf(voice.length);
  const apart = farthestParts(voice, windows);
  if (apart.distance < APART) return [];
  /** @type {Map<number, Float32Array>} */
  const known = new Map();
  const embed = async (/** @type {number} */ i) => {
    const found = known.get(i) ?? await encoder.embedPart(voice.subarray(...windows[i]));
    known.set(i, found);
    return found;
  };
  const pair = [await embed(apart.first), await embed(apart.second)];
  const llrOf = llrFor(heard, encoder.scoreMap);
  if (llrOf(dot(pair[0], pair[1]), pair) > PAIR_LLR) return [];
  const embeddings = [];
  for (let i = 0; i < windows.length; i += 1) embeddings.push(await embed(i));
  const labels = divided(embeddings, voice.length / SAMPLE_RATE / windows.length, llrOf);
  return Math.max(...labels) === 0 ? [] : told(labels, embeddings, windows, kept);
}

/** Windows evenly spaced from the first to the last possible place. @param {number} total @returns {Span[]} */
function windowsOf(total) {
  const count = Math.min(1 + Math.ceil((total - WINDOW) / SHIFT), MOST_WINDOWS);
  return evenlySpaced(0, total - WINDOW, count).map(roundEven).map((start) => [start, start + WINDOW]);
}

/**
 * What a cosine of windows says, however familiar the recording: both sides are of it.
 * @param {HeardRecording} heard
 * @param {import("../scoring/calibration.js").ScoreMap} scoreMap
 */
function llrFor({ facts }, scoreMap) {
  return (/** @type {number} */ score, /** @type {Embedding[]} */ windows) => {
    const closeness = scoreMap.reference.length > 0 ? median(windows.map((row) => Number(scoreMap.closeness(row)))) : null;
    const side = { speech_s: WINDOW / SAMPLE_RATE, snr_db: facts.snr_db, embedding_norm: null, unfamiliarity: null, closeness };
    return scoreMap.onLine(score, scoreMap.line(trialMeasures(side, side)));
  };
}

/**
 * The voice of each window; groups are divided as long as they are of two voices.
 * @param {Embedding[]} embeddings
 * @param {number} windowS seconds of speech for a window
 * @param {(score: number, windows: Embedding[]) => number} llrOf
 */
function divided(embeddings, windowS, llrOf) {
  const labels = embeddings.map(() => 0);
  let count = 1;
  for (const waiting = [0]; waiting.length > 0;) {
    const number = waiting.pop();
    const own = labels.flatMap((label, i) => (label === number ? [i] : []));
    if (own.length < LEAST_WINDOWS) continue;
    const rows = own.map((i) => embeddings[i]);
    const parts = halves(rows);
    const [one, other] = [0, 1].map((side) => meanRow(rows.filter((_, i) => parts[i] === side)));
    if (llrOf(dot(one, other), rows) >= GROUPS_LLR - GROUPS_FALL * Math.log(windowS * own.length)) continue;
    own.forEach((i, place) => { if (parts[place] === 1) labels[i] = count; });
    waiting.push(/** @type {number} */ (number), count);
    count += 1;
  }
  return labels;
}

/** 0 or 1: the division of windows with the least variance within the two, nearly. @param {Embedding[]} rows */
function halves(rows) {
  const middle = meanRow(rows);
  const centred = rows.map((row) => middle.map((value, k) => row[k] - value));
  const places = mainDirection(centred);
  const order = rows.map((_, i) => i).sort((a, b) => places[a] - places[b] || a - b);
  const [best, sums] = [{ between: -1, first: 0 }, new Float64Array(middle.length)];
  for (let count = 1; count < rows.length; count += 1) {
    centred[order[count - 1]].forEach((value, k) => { sums[k] += value; });
    const between = dot(sums, sums) * (1 / count + 1 / (rows.length - count));
    if (between > best.between) Object.assign(best, { between, first: count });
  }
  let labels = rows.map(() => 0);
  for (const i of order.slice(best.first)) labels[i] = 1;
  for (let round = 0; round < 5; round += 1) {
    const means = [0, 1].map((side) => meanRow(rows.filter((_, i) => labels[i] === side)));
    const lengths = means.map(lengthOf);
    const nearer = rows.map((row) => (dot(row, means[1]) / lengths[1] > dot(row, means[0]) / lengths[0] ? 1 : 0));
    if (nearer.every((label) => label === nearer[0]) || nearer.every((label, i) => label === labels[i])) break;
    labels = nearer;
  }
  return labels[0] === 0 ? labels : labels.map((label) => 1 - label);
}

/**
 * Where rows lie along the direction in which they vary most: the first eigenvector of their inner products, by squaring
 * these until nothing else is left.
 * @param {Float64Array[]} rows
 */
function mainDirection(rows) {
  let products = rows.map((one) => rows.map((other) => dot(one, other)));
  for (let round = 0; round < 40; round += 1) {
    const trace = products.reduce((total, row, i) => total + row[i], 0) || 1;
    products = products.map((row) => row.map((value) => value / trace));
    products = products.map((row) => products.map((other) => dot(row, other)));
  }
  const longest = products.reduce((best, row) => (lengthOf(row) > lengthOf(best) ? row : best));
  return longest;
}

/**
 * The stretches of each voice: each tenth of a second is of the voice that its windows are like.
 * @param {number[]} labels of the windows
 * @param {Embedding[]} embeddings of them
 * @param {Span[]} windows in what is kept of the recording
 * @param {Span[]} kept its stretches
 * @returns {Span[][]}
 */
function told(labels, embeddings, windows, kept) {
  const voices = Math.max(...labels) + 1;
  const means = Array.from({ length: voices }, (_, voice) => {
    const row = meanRow(embeddings.filter((__, i) => labels[i] === voice));
    const length = lengthOf(row);
    return row.map((value) => value / length);
  });
  const total = kept.reduce((sum, [start, end]) => sum + end - start, 0);
  const steps = Array.from({ length: Math.ceil(total / STEP) }, () => new Float64Array(voices));
  windows.forEach(([start, end], i) => {
    const alike = means.map((row) => dot(row, embeddings[i]));
    for (let step = Math.floor(start / STEP); step < Math.min(Math.ceil(end / STEP), steps.length); step += 1) {
      // A window says more of its middle than of its ends, where another voice may begin.
      const weight = Math.max(0, 1.05 - Math.abs((step + 0.5) * STEP - (start + end) / 2) / ((end - start) / 2));
      alike.forEach((value, voice) => { steps[step][voice] += weight * value; });
    }
  });
  const spoken = withoutShort(steps.map((row) => row.indexOf(Math.max(...row))));
  /** @type {Span[][]} */
  const found = Array.from({ length: voices }, () => []);
  let first = 0;
  for (const [voice, length] of spoken) {
    found[voice].push(...within(kept, [first * STEP, Math.min((first + length) * STEP, total)]));
    first += length;
  }
  const lengthOfAll = (/** @type {Span[]} */ spans) => spans.reduce((sum, [start, end]) => sum + end - start, 0);
  return found.filter((spans) => spans.length > 0).sort((a, b) => lengthOfAll(b) - lengthOfAll(a));
}

/** Runs of voices, of which a stretch that is too short was given to the one before it, or behind it at the start. @param {number[]} voices */
function withoutShort(voices) {
  /** @type {[number, number][]} */
  const runs = [];
  for (const voice of voices) {
    const last = runs.at(-1);
    if (last && last[0] === voice) last[1] += 1;
    else runs.push([voice, 1]);
  }
  /** @type {[number, number][]} */
  const done = [];
  for (const [voice, length] of runs) {
    const last = done.at(-1);
    if (last && (length < LEAST_TOLD || voice === last[0])) last[1] += length;
    else if (last && last[1] < LEAST_TOLD) done[done.length - 1] = [voice, last[1] + length];
    else done.push([voice, length]);
  }
  return done;
}

/** That there are several voices, and when each speaks. @param {Span[][]} voices */
export function described(voices) {
  const told = voices.map((spans, i) => {
    /** @type {Span[]} */
    const stretches = [];
    for (const [start, end] of spans) {
      const last = stretches.at(-1);
      if (last && start - last[1] <= BRIDGED) last[1] = end;
      else stretches.push([start, end]);
    }
    const seconds = (/** @type {number} */ place) => (place / SAMPLE_RATE).toFixed(1);
    const shown = stretches.slice(0, SHOWN).map(([start, end]) => `from ${seconds(start)} to ${seconds(end)} s`);
    const more = stretches.length > SHOWN ? ` and ${stretches.length - SHOWN} times more` : "";
    return `voice ${i + 1} ${shown.join(", ")}${more}`;
  });
  return `${voices.length} voices are heard in it, ${told.join(", ")}`;
}
