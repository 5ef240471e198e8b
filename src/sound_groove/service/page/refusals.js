/** Recordings that the service refused: which clips they are, and why, by the codes of the service. */

import { known } from "./language.js";

/** @typedef {{recording: string, code: string, reason: string, values: Object<string, any>}} Refusal of the service */

/**
 * Why a recording was refused: in the words of the page where it knows the code, else in those of the service.
 * @param {Refusal} refusal
 * @returns {import("./elements.js").Words}
 */
export function refusalWords({ code, reason, values }) {
  const text = `refused_${code}`;
  return known(text) ? { text, values: shown(values) } : { text: "as_said", values: { message: reason } };
}

/** What was measured, as it is read: seconds to a tenth or a hundredth, and of several voices when each speaks first. */
function shown({ voices = [], ...values }) {
  const numbers = Object.entries(values).map(([name, value]) => [name, String(Number(value.toFixed(2)))]);
  const firsts = voices.slice?.(0, 2).flatMap(([[start, end]], place) =>
    [[`from_${place + 1}`, start.toFixed(1)], [`to_${place + 1}`, end.toFixed(1)]]) ?? [];
  return Object.fromEntries([...numbers, ...firsts]);
}

/**
 * Which clip a warning of the service is about: it begins with the name under which the clip was sent.
 * @param {string} sentence "b: is digital silence"
 * @param {string[]} names of the clips
 * @returns {number} -1 where it is about no single one
 */
export function whichClip(sentence, names) {
  return names.findIndex((name) => sentence.startsWith(`${name}: `));
}

/**
 * Show at each clip why it was refused.
 * @param {import("./problems.js").Problem} problem of the service
 * @param {import("./clip.js").Clip[]} clips that were sent
 * @param {string[]} names under which they were
 * @returns {boolean} it was about clips
 */
export function placeRefusals({ refusals }, clips, names) {
  const places = refusals.map(({ recording }) => names.indexOf(recording));
  if (places.length === 0 || places.includes(-1)) return false;
  clips.forEach((clip, index) => {
    clip.complain(...refusals.filter((_, at) => places[at] === index).map(refusalWords));
  });
  return true;
}
