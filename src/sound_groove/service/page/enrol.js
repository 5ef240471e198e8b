/** Enrol a speaker from one or several clips. */

import { ask } from "./client.js";
import { Clip, endAll, filesOf } from "./clip.js";
import { confirm } from "./confirm.js";
import { find, make } from "./elements.js";
import { say } from "./language.js";
import { limits } from "./limits.js";
import { isEnrolled, refreshPeople } from "./people.js";
import { asProblem, Problem } from "./problems.js";
import { placeRefusals, refusalWords } from "./refusals.js";
import { problemNode, Result } from "./result.js";
import { noteList, warningNote } from "./warnings.js";

const LONGEST_NAME = 80; // letters of a file's name; the service shows 100
const FORCED = ["little_speech", "several_voices", "other_voice"]; // reasons in spite of which one may enrol

/** @type {Clip[]} */
const clips = [];
/** @type {Result} */
let result;
let isEmptying = false; // the clips, while their answer comes

/** @returns {(files: File[]) => boolean} takes files that were dropped, while there may be more */
export function beginEnrol() {
  result = new Result(find("enrol-result"), find("enrol-ask"));
  addClip();
  find("enrol-add").addEventListener("click", () => addClip()?.focus());
  find("enrol-name").addEventListener("input", () => {
    result.clear();
    sayWhetherKnown();
  });
  find("enrol-form").addEventListener("submit", (event) => {
    event.preventDefault();
    if (!result.isBusy) send(false);
  });
  return (files) => {
    const free = clips.find((clip) => !clip.file) ?? addClip();
    free?.take(files);
    return Boolean(free);
  };
}

/** Let recordings be added to somebody's. */
export function enrolMore(name) {
  find("enrol-name").value = name;
  location.hash = "#enrol";
  sayWhetherKnown();
}

/** Say that whoever has this name is enrolled already, so that recordings are added. */
export function sayWhetherKnown() {
  const name = find("enrol-name").value.trim();
  say(find("enrol-known"), isEnrolled(name) ? { text: "known_name", values: { name } } : { text: "as_said", values: { message: "" } });
}

/** @returns {Clip | undefined} one more, while there may be more */
function addClip() {
  if (clips.length >= limits().recordings) return undefined;
  const clip = new Clip(titleOf(clips.length), {
    changed: () => isEmptying || result.clear(),
    removed: dropClip,
    several: (files) => files.forEach((file) => addClip()?.take([file])),
  });
  clips.push(clip);
  find("enrol-clips").append(clip.node);
  return clip;
}

function titleOf(place) {
  return { text: "clip_number", values: { number: String(place + 1) } };
}

function dropClip(clip) {
  if (clips.length > 1) {
    clips.splice(clips.indexOf(clip), 1);
    clip.node.remove();
    clips.forEach((other, place) => other.rename(titleOf(place)));
  }
  clips.at(-1).focus();
}

/** Take all clips and the name away: the next person's must not come on top of them. */
function startAnew() {
  isEmptying = true;
  for (const clip of clips) clip.put(null);
  isEmptying = false;
  for (const clip of clips.splice(1)) clip.node.remove();
  find("enrol-name").value = "";
  sayWhetherKnown();
}

/**
 * @param {boolean} force what sounds unlike the others, or has little speech, as well
 * @param {number | null} voice of clips in which several speak, this one alone
 */
async function send(force, voice = null) {
  await endAll(clips);
  await result.work({ text: "enrolling" }, (signal) => enrol(force, voice, signal));
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
    return enrolled(name, await ask(path, { method: "POST", form, signal }), given, names);
  } catch (error) {
    const problem = asProblem(error);
    if (signal.aborted || !placeRefusals(problem, given, names)) throw error;
    return refused(name, problem.refusals, given, names);
  }
}

/** That somebody is enrolled; the warnings name their clips, which are gone from here. */
function enrolled(name, { added, speaker, warnings }, given, names) {
  const notes = warnings.map((warning) => {
    const clip = given[names.findIndex((one) => warning.message.startsWith(`${one}: `))];
    const { kind, words } = warningNote(warning);
    return { kind, words: clip ? about(clip, words) : words };
  });
  startAnew();
  refreshPeople().then(sayWhetherKnown); // the next name may be typed already
  const values = { name, added: String(added), recordings: String(speaker.recordings) };
  return [make("div", { className: "answer same" },
    make("h3", { className: "verdict same", words: { text: "enrolled", values } }),
    ...(notes.length > 0 ? [noteList(notes)] : []),
    make("p", { className: "muted", words: { text: "enrolled_next" } }))];
}

function about(clip, words) {
  return { text: "about_clip", values: { clip: clip.called, said: words } };
}

/**
 * Which clips were refused and why, and what can be done.
 * @param {string} name of the speaker
 * @param {import("./refusals.js").Refusal[]} refusals
 */
function refused(name, refusals, given, names) {
  const odd = given.filter((_, place) => refusals.some(({ recording }) => recording === names[place]));
  const reasons = refusals.map((one) => about(given[names.indexOf(one.recording)], refusalWords(one)));
  const button = (words, action, className = "") => make("button", { type: "button", words, className, onclick: action });
  const without = () => {
    for (const clip of odd) dropClip(clip);
    send(false);
  };
  const force = async () => {
    const sentences = [{ text: "force_question", values: { name, clips: String(given.length) } }, ...reasons, { text: "force_warning", values: { name } }];
    if (await confirm(sentences, { text: "enrol_force" })) send(true);
  };
  const alone = (number) => button({ text: "enrol_voice", values: { number: String(number) } }, () => send(false, number));
  const canForce = refusals.every(({ code }) => FORCED.includes(code));
  const isShared = refusals.some(({ code }) => code === "several_voices");
  return [
    problemNode(new Problem("enrol_refused"), reasons),
    make("div", { className: "row" },
      ...(odd.length < given.length ? [button({ text: "enrol_without" }, without, "primary")] : []),
      ...(isShared ? [alone(1), alone(2)] : []),
      ...(canForce ? [button({ text: "enrol_force" }, force, "danger")] : [])),
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
