/** Why a recording was not enrolled: the service's sentence, in the language of the page. */

// The sentences of enrolment.py and listening.py. One that is not here is shown as the service put it.
const SENTENCES = [
  [/does not sound like the others \(score (?<score>[-\d.]+), llr (?<llr>[-\d.]+)\)/, "refused_stranger"],
  [/this audio is enrolled already/, "refused_repeated"],
  [/has (?<speech>[\d.]+) s of speech, and an enrolment wants (?<wanted>\d+) s/, "refused_short"],
  [/only (?<speech>[\d.]+) s of speech was found, and a verdict needs (?<wanted>[\d.]+) s/, "refused_little"],
  [/no speech was found/, "refused_silent"],
];

/**
 * @param {string} sentence of the service, about one recording
 * @returns {import("./elements.js").Words}
 */
export function refusalWords(sentence) {
  for (const [pattern, text] of SENTENCES) {
    const found = pattern.exec(sentence);
    if (found) return { text, values: { ...found.groups } };
  }
  return { text: "as_said", values: { message: sentence } };
}
