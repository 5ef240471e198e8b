/** Where a question's answer goes: first that it is being worked on, then the answer or the problem. */

import { endAll } from "./clip.js";
import { make } from "./elements.js";
import { asProblem, Problem } from "./problems.js";
import { placeRefusals, refusalWords } from "./refusals.js";

export class Result {
  /** @param {HTMLElement} region which is read out when it changes */
  constructor(region) {
    this.region = region;
    this.controller = new AbortController();
  }

  /** Take the answer away, and give up a question that is under way. */
  clear() {
    this.controller.abort();
    this.region.replaceChildren();
  }

  /**
   * Answer a question about clips whenever a form is sent.
   * @param {HTMLFormElement} form
   * @param {import("./elements.js").Words} words what is being done then
   * @param {import("./clip.js").Clip[]} clips
   * @param {string[]} names by which the service calls them
   * @param {(signal: AbortSignal) => Promise<Node[]>} work
   */
  answers(form, words, clips, names, work) {
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      await endAll(clips); // before, since a clip that changes takes the answer away
      this.work(words, (signal) => work(signal).catch((error) => {
        if (signal.aborted || !placeRefusals(asProblem(error), clips, names)) throw error;
        throw new Problem("clips_refused");
      }));
    });
  }

  /**
   * Work on a question; a newer one takes its place.
   * @param {import("./elements.js").Words} words what is being done
   * @param {(signal: AbortSignal) => Promise<Node[]>} work which makes the answer, or throws
   */
  async work(words, work) {
    this.clear();
    const { signal } = (this.controller = new AbortController());
    this.region.replaceChildren(make("p", { className: "working", words }));
    let nodes;
    try {
      nodes = await work(signal);
    } catch (error) {
      if (signal.aborted) return;
      nodes = [problemNode(asProblem(error))];
    }
    if (signal.aborted) return;
    this.region.replaceChildren(...nodes);
  }
}

/** @param {import("./problems.js").Problem} problem */
export function problemNode({ words, refusals }) {
  return make("div", { className: "problem" },
    make("p", {}, make("strong", { words: { text: "mark_error" } }), " ", make("span", { words })),
    ...(refusals.length > 0 ? [make("ul", {}, ...refusals.map((one) => make("li", { words: refusalWords(one) })))] : []));
}
