/** Enrol a speaker from one or several clips. */

import { ask } from "./client.js";
import { Clip, endAll, filesOf } from "./clip.js";
import { find, make } from "./elements.js";
import { limits } from "./limits.js";
import { asProblem, Problem } from "./problems.js";
import { placeRefusals } from "./refusals.js";
import { problemNode, Result } from "./result.js";
import { placeWarnings } from "./warnings.js";

const LONGEST_NAME = 80; // letters of a file's name; the service shows 100

/** @type {Clip[]} */
const clips = [];
/** @type {Result} */
let result;

export function beginEnrol() {
  result = new Result(find("enrol-result"));
  addClip();
  find("enrol-add").addEventListener("click", () => addClip()?.focus());
  find("enrol-name").addEventListener("input", () => result.clear());
  find("enrol-form").addEventListener("submit", (event) => {
    event.preventDefault();
    send(false);
  });
}

/** @returns {Clip | undefined} one more, while there may be more */
function addClip() {
  if (clips.length >= limits().recordings) return undefined;
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

/**
 * @param {boolean} force what sounds unlike the others, or has little speech, as well
 * @param {number | null} voice of clips in which several speak, this one alone
 */
async function send(force, voice = null) {
  await endAll(clips);
  result.work({ text: "enrolling" }, (signal) => enrol(force, voice, signal));
}

async function enrol(force, voice, signal) {
  const field = find("enrol-name");
  const name = field.value.trim();
  if (!name) {
    field.focus();
    throw new Problem("name_missing");
  }
  const filled = clips.filter((clip) => clip.file);
  const given = filled.length > 0 ? filled : clips;
  const files = filesOf(given);
  const names = sentNames(files);
  const form = new FormData();
  files.forEach((file, index) => form.append("audio", file, names[index]));
  form.append("force", String(force));
  if (voice !== null) form.append("voice", String(voice));
  form.append("keep_audio", String(find("enrol-keep").checked));
  for (const clip of given) clip.warn([]);
  try {
    const path = `v1/speakers/${encodeURIComponent(name)}/recordings`;
    const { added, speaker, warnings } = await ask(path, { method: "POST", form, signal });
    const values = { name, added: String(added), recordings: String(speaker.recordings) };
    const done = make("p", { className: "verdict same", words: { text: "enrolled", values } });
    return [done, ...placeWarnings(warnings, given, names)];
  } catch (error) {
    const problem = asProblem(error);
    if (signal.aborted || !placeRefusals(problem, given, names)) throw error;
    return refused(problem.refusals.some(({ code }) => code === "several_voices"));
  }
}

/** What can be done when clips were refused. */
function refused(several) {
  const button = (words, force, voice) => {
    const node = make("button", { type: "button", words });
    node.addEventListener("click", () => send(force, voice));
    return node;
  };
  const alone = (number) => button({ text: "enrol_voice", values: { number: String(number) } }, false, number);
  return [
    problemNode(new Problem("enrol_refused")),
    make("p", { words: { text: "enrol_force_hint" } }),
    ...(several ? [alone(1), " ", alone(2), " "] : []),
    button({ text: "enrol_force" }, true, null),
  ];
}

/**
 * Names for files by which the service can tell them apart, and shows them as they are.
 * @param {File[]} files
 */
function sentNames(files) {
  const names = files.map((file) => file.name.normalize().replace(/[^\p{L}\p{N}._() -]/gu, "_").slice(-LONGEST_NAME));
  return names.map((name, index) => {
    const earlier = names.slice(0, index).filter((other) => other === name).length;
    return earlier > 0 ? name.replace(/(\.\w*)?$/, ` (${earlier + 1})$1`) : name;
  });
}
