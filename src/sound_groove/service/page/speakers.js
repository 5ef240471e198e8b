/** Who is enrolled, from which recordings; and how to compare with them, add to them, and remove them. */

import { ask } from "./client.js";
import { compareWith } from "./compare.js";
import { confirm } from "./confirm.js";
import { find, make } from "./elements.js";
import { enrolMore } from "./enrol.js";
import { asProblem } from "./problems.js";
import { problemNode, Result } from "./result.js";

/** @returns {() => void} show the list anew */
export function beginSpeakers() {
  const result = new Result(find("speakers-result"));
  const removal = new Result(find("speakers-removed"));
  const list = () => result.work({ text: "listing" }, (signal) => speakersNode(signal, (name) => remove(name)));
  const remove = async (name) => {
    if (!await confirm([{ text: "removal_question", values: { name } }], { text: "remove_for_good" })) return;
    await removal.work({ text: "removing" }, async (signal) => {
      await ask(`v1/speakers/${encodeURIComponent(name)}`, { method: "DELETE", signal });
      return [make("p", { words: { text: "removed_name", values: { name } } })];
    });
    find("speakers-title").focus();
    list();
  };
  return () => {
    removal.clear(); // which is old news by now
    list();
  };
}

/** All who are enrolled, page by page. */
async function speakersNode(signal, remove) {
  const list = make("ul", { className: "speakers" });
  const more = make("button", { type: "button", words: { text: "more" } });
  const load = async (after) => {
    const { speakers, next } = await ask(`v1/speakers?after=${encodeURIComponent(after)}`, { signal });
    const nodes = speakers.map((speaker) => speakerNode(speaker, remove));
    list.append(...nodes);
    more.hidden = next === null;
    more.onclick = async () => (await load(next))?.querySelector("summary").focus();
    return nodes[0];
  };
  const first = await load("");
  return first ? [list, more] : [make("p", { words: { text: "nobody_enrolled" } })];
}

/** @param {{name: string, recordings: number, speech_s: number, enrolled_at: string}} speaker */
function speakerNode({ name, recordings, speech_s, enrolled_at }, remove) {
  const values = { recordings: String(recordings), speech: speech_s.toFixed(1), day: enrolled_at.slice(0, 10) };
  const button = (text, label, action, className = "small") =>
    make("button", { type: "button", className, words: { text }, label: { text: label, values: { name } }, onclick: action });
  const held = make("div", { role: "status" });
  const details = make("details", {}, make("summary", { words: { text: "recordings", values } }), held);
  details.addEventListener("toggle", async () => {
    if (!details.open) return;
    held.replaceChildren(make("p", { className: "working", words: { text: "listing" } }));
    const found = await ask(`v1/speakers/${encodeURIComponent(name)}`).then(recordingsNode, (error) => problemNode(asProblem(error)));
    held.replaceChildren(found);
  });
  return make("li", {},
    make("div", { className: "row spread" },
      make("div", {},
        make("strong", { className: "speaker", textContent: name }),
        make("span", { className: "muted", words: { text: "speaker_facts", values } })),
      make("div", { className: "row" },
        button("check", "check_name", () => compareWith(name)), button("add", "add_name", () => enrolMore(name)),
        button("remove", "remove_name", () => remove(name), "small danger"))),
    details);
}

/** @param {{recordings: {source: string, duration_s: number, speech_s: number, enrolled_at: string}[]}} speaker */
function recordingsNode({ recordings }) {
  return make("ul", { className: "recordings" }, ...recordings.map(({ source, duration_s, speech_s, enrolled_at }) => {
    const values = { seconds: duration_s.toFixed(1), speech: speech_s.toFixed(1), day: enrolled_at.slice(0, 10) };
    return make("li", {}, make("strong", { textContent: source }), make("span", { className: "muted", words: { text: "recording_facts", values } }));
  }));
}
