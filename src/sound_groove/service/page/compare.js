/** Are two clips of the same speaker, or is one of somebody who is enrolled? */

import { ask } from "./client.js";
import { Clip, filesOf } from "./clip.js";
import { find } from "./elements.js";
import { refreshPeople } from "./people.js";
import { Problem } from "./problems.js";
import { Result } from "./result.js";
import { verdictNode } from "./verdict.js";
import { placeWarnings } from "./warnings.js";

/** @type {(name: string) => void} */
let choose;

/** @returns {(files: File[]) => boolean} takes files that were dropped, where there is a place */
export function beginCompare() {
  const form = find("compare-form");
  const result = new Result(find("compare-result"), find("compare-ask"));
  const clips = ["clip_a", "clip_b"].map((text) => new Clip({ text }, {
    changed: () => result.clear(),
    several: ([next]) => !clips[1].file && !isNamed() && clips[1].take([next]),
  }));
  const [withClip, withName, field] = [find("with-clip"), find("with-name"), find("compare-name")];
  const isNamed = () => withName.checked;
  find("compare-clips").append(...clips.map((clip) => clip.node), find("compare-person"));
  const side = () => {
    result.clear();
    clips[1].node.hidden = isNamed();
    find("compare-person").hidden = !isNamed();
    if (isNamed()) refreshPeople();
  };
  for (const choice of [withClip, withName]) choice.addEventListener("change", side);
  field.addEventListener("input", () => result.clear());
  choose = (name) => {
    withName.checked = true;
    field.value = name;
    side();
  };
  // The names are the fields of the form, by which the service calls the clips.
  const asked = () => (isNamed() ? { clips: clips.slice(0, 1), names: ["audio"] } : { clips, names: ["a", "b"] });
  result.answers(form, { text: "comparing" }, asked, (signal) => compare(asked(), isNamed() ? field : null, signal));
  side();
  return (files) => {
    const free = asked().clips.filter((clip) => !clip.file);
    free.forEach((clip, place) => files[place] && clip.take([files[place]]));
    return free.length > 0;
  };
}

/** Let a clip be compared with somebody who is enrolled. */
export function compareWith(name) {
  choose(name);
  location.hash = "#compare";
}

/**
 * @param {{clips: Clip[], names: string[]}} asked two clips, or one
 * @param {HTMLInputElement | null} field with the name of whoever the one clip is compared with
 */
async function compare({ clips, names }, field, signal) {
  const files = filesOf(clips);
  const form = new FormData();
  const name = field?.value.trim();
  if (field && !name) {
    field.focus();
    throw new Problem("name_missing");
  }
  if (field) form.append("name", name);
  files.forEach((file, index) => form.append(names[index], file));
  const comparison = await ask(field ? "v1/verify" : "v1/compare", { method: "POST", form, signal });
  const heard = comparison.audio.slice(-clips.length); // of a person and a clip the first are the facts of what is enrolled
  clips.forEach((clip, index) => clip.describe(heard[index]));
  const sides = field ? [clips[0].called, { text: "as_said", values: { message: name } }] : clips.map((clip) => clip.called);
  return [verdictNode(comparison, placeWarnings(comparison.warnings, clips, names), sides, Boolean(field))];
}
