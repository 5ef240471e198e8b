/**
 * The addresses of the service that the page asks, answered in the browser.
 *
 * The page is that of the service (`sound_groove/service/page`); what it asks of `v1/...` is answered here with the same
 * records, by the package and by what this browser keeps.
 */

import { joined, keptSpans } from "../sound-groove/src/audio/pauses.js";
import { all, erase, person, keep } from "./people_store.js";

const RATE = 16000;
const MOST_KEPT = 30; // recordings that are not heard again when they are asked about again
const WANTED_S = 2; // of speech in a recording that is enrolled

/** @typedef {import("../src/verifier.js").Verifier} Verifier */
/** @typedef {import("../src/audio/listening.js").HeardRecording & {embedding: Float32Array}} Heard */
/** @typedef {{name: string, key: string, file: string, sound?: import("../src/audio/given.js").Sound}} Given a recording: the
 *     field of the form that it is in, and what it is known by */
/** @typedef {{method: string, path: string[], texts: Object<string, string>, recordings: Given[]}} Question */

/** @type {Map<string, Promise<Heard>>} */
const kept = new Map();

/** A question that is refused, with the code of the service. */
class Refused extends Error {
  /** @param {string} code @param {object[]} refusals of recordings */
  constructor(code, refusals = []) {
    super(code);
    this.code = code;
    this.refusals = refusals;
  }
}

/**
 * @param {Question} question
 * @param {() => Promise<Verifier>} load
 * @returns {Promise<unknown>}
 */
export async function answer(question, load) {
  const [first, name] = question.path;
  if (first === "inspect") return inspect(await heardOf(question.recordings[0], "audio", load));
  if (first === "compare") return compare(question, load);
  if (first === "verify") return verify(question, load);
  if (first !== "speakers") throw new Refused("not_found");
  if (name === undefined) return { speakers: (await all()).map(summary), next: null };
  if (question.method === "DELETE") return erase(name);
  if (question.method === "POST") return enrol(name, question, load);
  return { recordings: (await known(name)).recordings.map(recordingFacts) };
}

/**
 * What was heard of a recording, under this name.
 * @param {Given} given
 * @param {string} name
 * @param {() => Promise<Verifier>} load
 * @returns {Promise<Heard>}
 */
async function heardOf({ key, sound }, name, load) {
  if (!kept.has(key)) {
    if (!sound) throw new Error("the recording was not sent");
    kept.set(key, load().then((verifier) => verifier.hear({ ...sound, name: "" })));
    if (kept.size > MOST_KEPT) kept.delete(/** @type {string} */ (kept.keys().next().value));
  }
  try {
    const heard = await /** @type {Promise<Heard>} */ (kept.get(key));
    const warnings = heard.warnings.map(({ code, message }) => ({ code, message: `${name}${message}` })); // ": ..." until then
    return { ...heard, name, warnings };
  } catch (error) {
    kept.delete(key);
    const { code, reason, values } = /** @type {any} */ (error);
    if (reason === undefined) throw error;
    throw new Refused("unusable_audio", [{ recording: name, code, reason, values }]);
  }
}

/** @param {Heard} heard */
function inspect({ facts, warnings, speech, samples }) {
  const seconds = (/** @type {[number, number][]} */ spans) => spans.map((span) => span.map((place) => place / RATE));
  return { audio: facts, warnings, speech_spans: seconds(speech), kept_spans: seconds(keptSpans(speech, samples.length)) };
}

/** @param {Question} question @param {() => Promise<Verifier>} load */
async function compare({ recordings }, load) {
  const heard = [];
  for (const given of recordings) heard.push(await heardOf(given, given.name, load));
  return (await load()).compare(heard[0], heard[1]);
}

/** @param {Question} question @param {() => Promise<Verifier>} load */
async function verify({ texts, recordings: [given] }, load) {
  const voiceprint = await known(texts.name);
  const heard = await heardOf(given, "audio", load);
  const verifier = await load();
  if (voiceprint.model !== verifier.model.hash) throw new Refused("other_model");
  return verifier.verify(voiceprint, heard);
}

/** @param {string} name */
async function known(name) {
  const found = await person(name);
  if (!found) throw new Refused("unknown_speaker");
  return found;
}

/**
 * Keep recordings under a name, all of them or none.
 * @param {string} name
 * @param {Question} question
 * @param {() => Promise<Verifier>} load
 */
async function enrol(name, { texts, recordings }, load) {
  const verifier = await load();
  const before = await person(name) ?? null;
  if (before && before.model !== verifier.model.hash) throw new Refused("other_model");
  const heard = [];
  for (const given of recordings) heard.push(await alone(await heardOf(given, given.file, load), texts.voice, verifier));
  const isForced = texts.force === "true";
  const refusals = heard.flatMap((one) => unfit(one, isForced, before) ?? []);
  if (refusals.length === 0 && !isForced) refusals.push(...await strangers(heard, before, verifier));
  if (refusals.length > 0) throw new Refused("enrolment_refused", refusals);
  const enrolledAt = new Date().toISOString();
  let voiceprint = before;
  for (const one of heard) voiceprint = await verifier.enroll([{ ...one, warnings: [] }], voiceprint);
  const dated = (voiceprint?.recordings ?? []).map((one) => ({ enrolled_at: enrolledAt, ...one }));
  const now = { name, model: verifier.model.hash, recordings: dated };
  await keep(now);
  const warnings = heard.flatMap((one) => one.warnings);
  return { added: dated.length - (before?.recordings.length ?? 0), speaker: summary(now), warnings };
}

/** One voice of a recording of several, where one is asked for. @param {Heard} heard @param {string | undefined} voice @param {Verifier} verifier */
async function alone(heard, voice, verifier) {
  if (voice === undefined || heard.voices.length === 0) return heard;
  const spans = heard.voices[Number(voice) - 1];
  if (!spans) throw new Refused("enrolment_refused", [refusal(heard, "no_such_voice", { voice: Number(voice) })]);
  const samples = joined(spans.map(([start, end]) => heard.samples.subarray(start, end)));
  const found = await verifier.hear({ samples, sampleRate: RATE, sourceSampleRate: heard.facts.sample_rate, name: heard.name });
  return { ...found, voices: [], warnings: found.warnings.filter(({ code }) => code !== "several_voices") };
}

/** Why a recording may not be enrolled by itself. @param {Heard} heard @param {boolean} isForced @param {import("../src/verifier.js").Voiceprint | null} before */
function unfit(heard, isForced, before) {
  const codes = heard.warnings.map(({ code }) => code);
  const measured = { speech_s: heard.facts.speech_s, wanted_s: WANTED_S };
  if (codes.includes("too_little_speech")) return refusal(heard, "too_little_speech", { ...measured, wanted_s: 0.5 });
  if (codes.includes("channels_differ")) return refusal(heard, "channels_differ", {});
  if (before?.recordings.some(({ digest }) => digest === heard.digest)) return refusal(heard, "enrolled_already", {});
  if (isForced) return null;
  if (heard.voices.length > 0) {
    const voices = heard.voices.map((spans) => spans.map((span) => span.map((place) => place / RATE)));
    return refusal(heard, "several_voices", { voices });
  }
  return codes.includes("little_speech") ? refusal(heard, "little_speech", measured) : null;
}

/** Those that do not sound like the others. @param {Heard[]} heard @param {any} before @param {Verifier} verifier */
async function strangers(heard, before, verifier) {
  const found = [];
  for (const one of heard) {
    const others = heard.filter((other) => other !== one);
    if (others.length === 0 && !before) continue;
    const rest = await verifier.enroll(others.map((other) => ({ ...other, warnings: [] })), before);
    const { verdict } = await verifier.verify(rest, one);
    if (verdict === "different") found.push(refusal(one, "other_voice", {}));
  }
  return found;
}

/** @param {Heard} heard @param {string} code @param {object} values */
function refusal({ name }, code, values) {
  return { recording: name, code, reason: code, values };
}

/** @param {any} one of those who are enrolled */
function summary({ name, recordings }) {
  const speech = recordings.reduce((/** @type {number} */ total, /** @type {any} */ { facts }) => total + facts.speech_s, 0);
  const days = recordings.map((/** @type {any} */ { enrolled_at: day }) => day).sort();
  return { name, recordings: recordings.length, speech_s: speech, enrolled_at: days[0] };
}

/** @param {any} recording that is enrolled */
function recordingFacts({ name, facts, enrolled_at: day }) {
  return { source: name, duration_s: facts.duration_s, speech_s: facts.speech_s, enrolled_at: day };
}
