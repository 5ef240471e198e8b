/** Are two clips of the same speaker? */

import { ask } from "./client.js";
import { Clip, filesOf } from "./clip.js";
import { find } from "./elements.js";
import { Result } from "./result.js";
import { verdictNode } from "./verdict.js";
import { placeWarnings } from "./warnings.js";

const NAMES = ["a", "b"]; // the fields of the form, by which the service calls the clips

export function beginCompare() {
  const result = new Result(find("compare-result"));
  const clips = ["clip_a", "clip_b"].map((text) => new Clip({ text }, { changed: () => result.clear() }));
  find("compare-clips").append(...clips.map((clip) => clip.node));
  result.answers(find("compare-form"), { text: "comparing" }, clips, NAMES, (signal) => compare(clips, signal));
}

/** @param {Clip[]} clips two of them */
async function compare(clips, signal) {
  const form = new FormData();
  filesOf(clips).forEach((file, index) => form.append(NAMES[index], file));
  const comparison = await ask("v1/compare", { method: "POST", form, signal });
  clips.forEach((clip, index) => clip.describe(comparison.audio[index]));
  return [verdictNode(comparison, placeWarnings(comparison.warnings, clips, NAMES))];
}
