/** Recordings that the service refused: which clips they are, and why, in the language of the page. */

export const SEVERAL = "refused_voices";

// The sentences of audio.py, enrolment.py, listening.py and several_voices.py. One that is not here is shown as the service put it.
const SENTENCES = [
  [/does not sound like the others \(score (?<score>[-\d.]+), llr (?<llr>[-\d.]+)\)/, "refused_stranger"],
  [/voice 1 from (?<a>[\d.]+) to (?<b>[\d.]+) s.*voice 2 from (?<c>[\d.]+) to (?<d>[\d.]+) s.*; enrol one/, SEVERAL],
  [/this audio is enrolled already/, "refused_repeated"],
  [/has (?<speech>[\d.]+) s of speech, and an enrolment wants (?<wanted>\d+) s/, "refused_short"],
  [/only (?<speech>[\d.]+) s of speech was found, and a verdict needs (?<wanted>[\d.]+) s/, "refused_little"],
  [/no speech was found|is digital silence/, "refused_silent"],
  [/lasts (?<length>[\d.]+) s, less than the (?<wanted>[\d.]+) s/, "refused_brief"],
  [/lasts (?<length>[\d.,]+) s, more than the (?<wanted>[\d.]+) s/, "refused_long"],
  [/all recordings together may last (?<wanted>[\d.]+) s/, "refused_long_together"],
  [/is not audio/, "refused_not_audio"],
  [/cannot be read; convert it/, "refused_format"],
  [/is truncated|is damaged/, "refused_damaged"],
];

/**
 * @param {string} sentence of the service about one recording, without its name
 * @returns {import("./elements.js").Words}
 */
export function refusalWords(sentence) {
  for (const [pattern, text] of SENTENCES) {
    const found = pattern.exec(sentence);
    if (found) return { text, values: { ...found.groups } };
  }
  return { text: "as_said", values: { message: sentence } };
}

/**
 * Which clip a sentence of the service is about: it begins with the name under which the clip was sent.
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
export function placeRefusals(problem, clips, names) {
  const places = problem.details.map((detail) => whichClip(detail, names));
  if (places.length === 0 || places.includes(-1)) return false;
  clips.forEach((clip, index) => {
    const own = problem.details.filter((_, at) => places[at] === index);
    clip.complain(...own.map((sentence) => refusalWords(sentence.slice(names[index].length + 2))));
  });
  return true;
}
