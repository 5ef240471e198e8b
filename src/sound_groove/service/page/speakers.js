/** Who is enrolled, and how to remove one of them. */

import { ask } from "./client.js";
import { find, make } from "./elements.js";
import { Result } from "./result.js";

/** @returns {() => void} show the list anew */
export function beginSpeakers() {
  const result = new Result(find("speakers-result"));
  const list = () => result.work({ text: "listing" }, (signal) => speakersNode(signal, list));
  return () => {
    find("speakers-removed").replaceChildren(); // which is old news by now
    list();
  };
}

/** All who are enrolled, page by page. */
async function speakersNode(signal, again) {
  const list = make("ul", { className: "speakers" });
  const more = make("button", { type: "button", words: { text: "more" } });
  const load = async (after) => {
    const { speakers, next } = await ask(`v1/speakers?after=${encodeURIComponent(after)}`, { signal });
    const nodes = speakers.map((speaker) => speakerNode(speaker, again));
    list.append(...nodes);
    more.hidden = next === null;
    more.onclick = async () => (await load(next))?.querySelector("button").focus();
    return nodes[0];
  };
  const first = await load("");
  return first ? [list, more] : [make("p", { words: { text: "nobody_enrolled" } })];
}

/** @param {{name: string, recordings: number, speech_s: number, enrolled_at: string}} speaker */
function speakerNode(speaker, again) {
  const { name, recordings, speech_s, enrolled_at } = speaker;
  const values = { recordings: String(recordings), speech: speech_s.toFixed(1), day: enrolled_at.slice(0, 10) };
  const label = { text: "remove_name", values: { name } };
  const button = make("button", { type: "button", words: { text: "remove" }, label });
  button.addEventListener("click", () => confirmRemoval(name, again, button));
  return make("li", {},
    make("div", {},
      make("strong", { className: "speaker", textContent: name }),
      make("span", { className: "muted", words: { text: "speaker_facts", values } })),
    button);
}

function confirmRemoval(name, again, button) {
  const dialog = find("removal");
  find("removal-question").replaceChildren(make("span", { words: { text: "removal_question", values: { name } } }));
  dialog.returnValue = "";
  dialog.onclose = async () => {
    if (dialog.returnValue !== "remove") {
      button.focus();
      return;
    }
    const result = new Result(find("speakers-removed"));
    await result.work({ text: "removing" }, async (signal) => {
      await ask(`v1/speakers/${encodeURIComponent(name)}`, { method: "DELETE", signal });
      return [make("p", { words: { text: "removed_name", values: { name } } })];
    });
    find("speakers-title").focus();
    again();
  };
  dialog.showModal();
}
