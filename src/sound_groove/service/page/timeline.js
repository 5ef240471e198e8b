/** Who speaks when, as one sees and corrects it: a line for each speaker, turns that play, names, and enrolment. */

import { ask } from "./client.js";
import { fresh, make } from "./elements.js";
import { say } from "./language.js";
import { asProblem, Problem } from "./problems.js";
import { refusalWords } from "./refusals.js";
import { problemNode } from "./result.js";
import { percent } from "./scale.js";
import { noteList, warningNote } from "./warnings.js";
import { decode, encodeWav } from "./wav.js";

const COLOURS = 8; // of the style sheet, which come again where more people speak
const SHOWN_TURNS = 100; // at a time
const ENROLLED_S = 60; // of a speaker's longest turns
const FADE_S = 0.005;

/**
 * @typedef {{start_s: number, end_s: number, speaker: string}} Turn
 * @typedef {{speaker: string, name: string | null, speech_s: number, evidence: {probability: number | null} | null}} Speaker
 */

/**
 * @param {{turns: Turn[], speakers: Speaker[], audio: {duration_s: number}}} found as the service gives it
 * @param {File} file that was sent
 * @param {HTMLAudioElement} player of it; hidden where the browser cannot play it
 */
export function timelineNode(found, file, player) {
  const names = found.speakers.map(({ name }, place) => ({ given: name ?? "", place, nodes: [] }));
  const places = new Map(found.speakers.map(({ speaker }, place) => [speaker, place]));
  const play = playerOf(player);
  const lanes = found.speakers.map((speaker, place) => {
    const turns = found.turns.filter((turn) => turn.speaker === speaker.speaker);
    return laneNode(speaker, names[place], turns, { duration_s: found.audio.duration_s, play, file });
  });
  const list = make("ol", { className: "turns" });
  const more = make("button", { type: "button", words: { text: "more" } });
  const load = () => {
    const from = list.children.length;
    list.append(...found.turns.slice(from, from + SHOWN_TURNS).map((turn) => turnNode(turn, names[places.get(turn.speaker)], play)));
    more.hidden = list.children.length >= found.turns.length;
  };
  more.addEventListener("click", load);
  load();
  const values = { speakers: String(found.speakers.length), turns: String(found.turns.length) };
  return make("div", { className: "answer" },
    make("h3", { className: "verdict", words: { text: "who_found", values } }),
    make("div", { className: "lanes" }, ...lanes),
    make("details", {}, make("summary", { words: { text: "who_turns" } }), list, more));
}

/** What a speaker is called: as corrected, or unknown and a number. */
function called({ given, place }) {
  const values = { number: String(place + 1) };
  return given ? { text: "as_said", values: { message: given } } : { text: "who_unknown", values };
}

function laneNode(speaker, name, turns, { duration_s, play, file }) {
  const id = `speaker-${fresh()}`;
  const heading = make("strong", { id, className: "speaker" });
  name.nodes.push(heading);
  say(heading, called(name));
  const sure = speaker.name !== null && speaker.evidence?.probability != null;
  const values = { seconds: speaker.speech_s.toFixed(1), probability: sure ? percent(speaker.evidence.probability) : "" };
  const facts = make("span", { className: "muted", words: { text: sure ? "who_facts_sure" : "who_facts", values } });
  const track = make("div", { className: "track", "aria-hidden": "true" }, ...turns.map((turn) => {
    const span = make("span", { className: `colour-${name.place % COLOURS}`, onclick: () => play(turn) });
    span.style.left = `${(100 * turn.start_s) / duration_s}%`;
    span.style.width = `${(100 * (turn.end_s - turn.start_s)) / duration_s}%`;
    return span;
  }));
  const field = make("input", { id: `${id}-name`, type: "text", maxLength: 200, autocomplete: "off", value: name.given, "aria-describedby": id });
  field.addEventListener("input", () => {
    name.given = field.value.trim();
    for (const node of name.nodes) say(node, called(name));
  });
  const longest = turns.reduce((a, b) => (b.end_s - b.start_s > a.end_s - a.start_s ? b : a));
  const listen = make("button", { type: "button", words: { text: "who_listen" }, "aria-describedby": id, onclick: () => play(longest) });
  const enrol = make("button", { type: "button", words: { text: "enrol" }, "aria-describedby": id });
  const said = make("div", { role: "status" });
  enrol.addEventListener("click", () => enrolTurns({ field, button: enrol, said, file, name, turns }));
  return make("section", { className: "lane", "aria-labelledby": id },
    make("div", { className: "row spread" }, make("span", {}, make("span", { className: `dot colour-${name.place % COLOURS}` }), heading), facts),
    track,
    make("div", { className: "row" }, make("label", { htmlFor: field.id, words: { text: "name" } }), field, listen, enrol),
    said);
}

function turnNode({ start_s, end_s }, name, play) {
  const who = make("span");
  name.nodes.push(who);
  say(who, called(name));
  const button = make("button", { type: "button", className: "small", onclick: () => play({ start_s, end_s }) },
    `${clock(start_s)} – ${clock(end_s)}`);
  return make("li", {}, button, make("span", { className: `dot colour-${name.place % COLOURS}` }), who);
}

/** All turns as lines of text, by the names as they are now. */
export function linesOf(node) {
  const [list, more] = [node.querySelector(".turns"), node.querySelector(".turns + button")];
  while (!more.hidden) more.click();
  return [...list.children].map((turn) => [turn.firstChild, turn.lastChild].map((part) => part.textContent).join("  "));
}

/** Minutes and seconds: 75.25 s is 1:15.2. */
export function clock(seconds) {
  const tenths = Math.floor(seconds * 10);
  return `${Math.floor(tenths / 600)}:${String(Math.floor((tenths % 600) / 10)).padStart(2, "0")}.${tenths % 10}`;
}

/** A function that plays a turn, and stops at its end. */
function playerOf(player) {
  let end = Infinity;
  player.ontimeupdate = () => {
    if (player.currentTime < end) return;
    end = Infinity;
    player.pause();
  };
  player.onseeking = () => { if (player.currentTime > end) end = Infinity; }; // by hand, beyond the turn
  return ({ start_s, end_s }) => {
    end = end_s;
    player.currentTime = start_s;
    player.play().catch(() => {}); // it cannot be played here, as its absence says
  };
}

/** Enrol what a speaker says under the name in the field. */
async function enrolTurns({ field, button, said, file, name, turns }) {
  const given = field.value.trim();
  const show = (...nodes) => said.replaceChildren(...nodes);
  if (!given) {
    field.focus();
    show(problemNode(new Problem("name_missing")));
    return;
  }
  button.disabled = true;
  show(make("p", { className: "working", words: { text: "enrolling" } }));
  try {
    const sound = await decode(file).catch(() => { throw new Problem("who_not_decoded"); });
    const form = new FormData();
    form.append("audio", new File([encodeWav(spoken(sound, turns))], `${file.name}.wav`.slice(-90), { type: "audio/wav" }));
    const { speaker, added, warnings } = await ask(`v1/speakers/${encodeURIComponent(given)}/recordings`, { method: "POST", form });
    const values = { name: given, added: String(added), recordings: String(speaker.recordings) };
    show(make("p", { words: { text: "enrolled", values } }), ...(warnings.length ? [noteList(warnings.map(warningNote))] : []));
    name.given = given;
    for (const node of name.nodes) say(node, called(name));
  } catch (error) {
    show(...problemNodes(asProblem(error)));
  } finally {
    button.disabled = false;
  }
}

/** Why nothing was enrolled, in the language of the page where it knows the reasons. */
function problemNodes(problem) {
  if (problem.refusals.length === 0) return [problemNode(problem)];
  return [noteList(problem.refusals.map((refusal) => ({ kind: "error", words: refusalWords(refusal) })))];
}

/**
 * The longest of some turns, in order, up to a minute, one after the other and faded into silence at their ends.
 * @param {import("./wav.js").Sound} sound all of the recording
 * @param {Turn[]} turns
 */
export function spoken({ samples, sampleRate }, turns) {
  let left = ENROLLED_S * sampleRate;
  const kept = [];
  for (const { start_s, end_s } of [...turns].sort((a, b) => b.end_s - b.start_s - a.end_s + a.start_s)) {
    const start = Math.round(start_s * sampleRate);
    const end = Math.min(Math.round(end_s * sampleRate), start + left, samples.length);
    if (end <= start) continue;
    kept.push([start, end]);
    left -= end - start;
  }
  kept.sort((a, b) => a[0] - b[0]);
  const all = new Float32Array(kept.reduce((sum, [start, end]) => sum + end - start, 0));
  const fade = Math.round(FADE_S * sampleRate);
  let at = 0;
  for (const [start, end] of kept) {
    const part = samples.slice(start, end);
    for (let i = 0; i < Math.min(fade, part.length); i += 1) {
      part[i] *= i / fade;
      part[part.length - 1 - i] *= i / fade;
    }
    all.set(part, at);
    at += part.length;
  }
  return { samples: all, sampleRate };
}
