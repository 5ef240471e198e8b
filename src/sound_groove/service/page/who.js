/** Who speaks when in a long recording: sent, waited for, shown, played, names corrected, and voices enrolled. */

import { ask } from "./client.js";
import { find, make } from "./elements.js";
import { say } from "./language.js";
import { checkSizes, limits } from "./limits.js";
import { Problem } from "./problems.js";
import { Result } from "./result.js";
import { linesOf, timelineNode } from "./timeline.js";
import { shareRow } from "./share.js";
import { noteList, warningNote } from "./warnings.js";

const ASKED_MS = [300, 600, 1000, 2000]; // between two questions about a job, the last again and again

/** @type {File | null} */
let file = null;
/** @type {Result} */
let result;

/** @returns {(files: File[]) => boolean} takes a file that was dropped */
export function beginWho() {
  result = new Result(find("who-result"), find("who-send"));
  const chooser = find("who-chooser");
  find("who-choose").addEventListener("click", () => chooser.click());
  chooser.addEventListener("change", () => take(chooser.files[0]));
  const node = find("who-file");
  node.addEventListener("dragover", () => node.classList.add("dropping"));
  node.addEventListener("dragleave", () => node.classList.remove("dropping"));
  node.addEventListener("drop", (event) => {
    node.classList.remove("dropping");
    event.preventDefault(); // it is taken
    take(event.dataTransfer.files[0]);
  });
  const player = find("who-player");
  player.addEventListener("loadedmetadata", () => { player.hidden = !player.duration; });
  player.addEventListener("error", () => { player.hidden = true; }); // a format that this browser does not play
  find("who-form").addEventListener("submit", (event) => {
    event.preventDefault();
    if (!result.isBusy) result.work({ text: "who_sending" }, who);
  });
  return ([given]) => (take(given), true);
}

/** @param {File | undefined} given chosen or dropped */
function take(given) {
  if (!given) return;
  result.clear();
  const player = find("who-player");
  if (player.src) URL.revokeObjectURL(player.src);
  file = given;
  player.hidden = true;
  player.src = URL.createObjectURL(given);
  say(find("who-name"), { text: "as_said", values: { message: given.name } });
}

async function who(signal) {
  if (!file) {
    find("who-choose").focus();
    throw new Problem("clip_missing", { clip: { text: "who_recording" } });
  }
  checkSizes([file], limits().who.upload_bytes);
  const form = new FormData();
  form.append("audio", file);
  form.append("wait", "0");
  if (find("who-count").value) form.append("speakers", find("who-count").value);
  const asked = file;
  const found = await finished(await ask("v1/who", { method: "POST", form, signal }), signal);
  const player = find("who-player");
  const warnings = found.warnings.length > 0 ? [noteList(found.warnings.map(warningNote))] : [];
  if (found.turns.length === 0) return [make("p", { words: { text: "warning_no_speech" } })];
  const node = timelineNode(found, asked, player);
  node.append(...warnings, shareRow("who", found, () => [asked.name, ...linesOf(node)]));
  return [node];
}

/**
 * The result of a job, once it is there; until then, how far it is. Given up, the job ends.
 * @param {Job} job as the service tells of it
 * @param {AbortSignal} signal
 */
async function finished(job, signal) {
  const path = `v1/who/${job.id}`;
  const forget = () => ask(path, { method: "DELETE" }).catch(() => {}); // it goes of itself, too
  if (job.state === "done") return job.result;
  signal.addEventListener("abort", forget, { once: true });
  try {
    const bar = make("progress", { max: 1, label: { text: "who_listening" } });
    const stop = make("button", { type: "button", words: { text: "cancel" }, onclick: () => result.clear() });
    const line = make("p", { className: "working" });
    result.region.replaceChildren(make("div", { className: "answer" }, line, bar, make("div", {}, stop)));
    for (let turn = 0; job.state !== "done"; turn += 1) {
      show(job, line, bar);
      await new Promise((later) => setTimeout(later, ASKED_MS[Math.min(turn, ASKED_MS.length - 1)]));
      signal.throwIfAborted();
      job = await ask(path, { signal });
      if (job.state === "failed") throw failure(job.error);
    }
  } catch (error) {
    if (signal.aborted) throw error;
    forget();
    throw error;
  } finally {
    signal.removeEventListener("abort", forget);
  }
  forget();
  return job.result;
}

/**
 * @typedef {object} Job as the service tells of it
 * @property {string} id
 * @property {"waiting" | "working" | "done" | "failed"} state
 * @property {number | null} duration_s
 * @property {number} heard_s
 */

function show({ state, duration_s, heard_s }, line, bar) {
  if (!duration_s) {
    say(line, { text: state === "waiting" ? "who_waiting" : "who_decoding" });
    return;
  }
  const share = Math.min(1, heard_s / duration_s);
  bar.value = share;
  say(line, { text: "who_heard", values: { percent: String(Math.round(100 * share)) } });
}

function failure({ code, message, refusals }) {
  return code === "unusable_recording" ? new Problem("who_refused", {}, refusals) : new Problem("as_said", { message });
}
