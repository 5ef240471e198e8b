/** Enrol a speaker from one or several clips. */

import { ask } from "./client.js";
import { Clip } from "./clip.js";
import { find, make } from "./elements.js";
import { asProblem, Problem } from "./problems.js";
import { problemNode, Result } from "./result.js";
import { warningNodes, sortWarnings, whichClip } from "./warnings.js";
import { refusalWords } from "./refusals.js";

const MOST_CLIPS = 20;

/** @type {Clip[]} */
const clips = [];
let result;

export function beginEnrol() {
  result = new Result(find("enrol-result"));
  addClip();
  find("enrol-add").addEventListener("click", () => addClip()?.focus());
  find("enrol-name").addEventListener("input", () => result.clear());
  find("enrol-form").addEventListener("submit", (event) => {
    event.preventDefault();
    result.work({ text: "enrolling" }, (signal) => enrol(false, signal));
  });
}

/** @returns {Clip | undefined} one more, while there may be more */
function addClip() {
  if (clips.length >= MOST_CLIPS) return undefined;
  const title = { text: "clip_number", values: { number: String(clips.length + 1) } };
  const clip = new Clip(title, {
    changed: () => result.clear(),
    removed: dropClip,
    several: (files) => files.forEach((file) => addClip()?.take([file])),
  });
  clips.push(clip);
  find("enrol-clips").append(clip.node);
  return clip;
}

function dropClip(clip) {
  if (clips.length > 1) {
    clips.splice(clips.indexOf(clip), 1);
    clip.node.remove();
    clips.forEach((other, index) => other.rename({ text: "clip_number", values: { number: String(index + 1) } }));
  }
  clips.at(-1).focus();
}

/** @param {boolean} force what sounds unlike the others, or has little speech, as well */
async function enrol(force, signal) {
  for (const clip of clips) await clip.end();
  const field = find("enrol-name");
  const name = field.value.trim();
  const given = clips.filter((clip) => clip.file);
  if (!name) {
    field.focus();
    throw new Problem("name_missing");
  }
  if (given.length === 0) {
    clips[0].focus();
    throw new Problem("clip_missing", { clip: clips[0].title });
  }
  const form = new FormData();
  for (const clip of given) form.append("audio", clip.file);
  form.append("force", String(force));
  form.append("keep_audio", String(find("enrol-keep").checked));
  for (const clip of given) clip.warn([]);
  try {
    const path = `v1/speakers/${encodeURIComponent(name)}/recordings`;
    return enrolled(await ask(path, { method: "POST", form, signal }), name, given);
  } catch (error) {
    if (signal.aborted || asProblem(error).details.length === 0) throw error;
    return refused(asProblem(error), given);
  }
}

/** What was done; the clips stay for their warnings to be read. */
function enrolled(answer, name, given) {
  const { ofClips, others } = sortWarnings(answer.warnings, given.length);
  given.forEach((clip, index) => clip.warn(ofClips[index]));
  const values = { name, added: String(answer.added), recordings: String(answer.speaker.recordings) };
  return [make("p", { className: "verdict same", words: { text: "enrolled", values } }), ...warningNodes(others)];
}

/** Which clips were refused and why, and the way to enrol them all the same. */
function refused(problem, given) {
  const unplaced = problem.details.filter((detail) => {
    const clip = given[whichClip(detail)];
    clip?.complain({ words: refusalWords(detail) });
    return !clip;
  });
  const again = make("button", { type: "button", words: { text: "enrol_force" } });
  again.addEventListener("click", () => result.work({ text: "enrolling" }, (signal) => enrol(true, signal)));
  const text = unplaced.length < problem.details.length ? "refused_below" : "refused";
  return [problemNode(new Problem(text, {}, unplaced)), make("p", { words: { text: "enrol_force_hint" } }), again];
}
