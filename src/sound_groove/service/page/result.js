/** Where a question's answer goes: first that it is being worked on, then the answer or the problem. */

import { endAll } from "./clip.js";
import { make } from "./elements.js";
import { say } from "./language.js";
import { asProblem, Problem } from "./problems.js";
import { placeRefusals, refusalWords } from "./refusals.js";

const PATIENCE_S = 2; // after which the time is shown that a question takes

export class Result {
  /**
   * @param {HTMLElement} region which is read out when it changes
   * @param {HTMLButtonElement | null} button that asks, and shows that it is busy
   */
  constructor(region, button = null) {
    this.region = region;
    this.button = button;
    this.controller = new AbortController();
  }

  /** Take the answer away, and give up a question that is under way. */
  clear() {
    this.controller.abort();
    this.busy(false);
    this.region.replaceChildren();
  }

  /** Show that a question is under way, or over. */
  busy(isBusy) {
    this.region.setAttribute("aria-busy", String(isBusy));
    this.button?.setAttribute("aria-disabled", String(isBusy)); // 'disabled' itself would take the focus away
  }

  get isBusy() {
    return this.region.getAttribute("aria-busy") === "true";
  }

  /**
   * Answer a question about clips whenever a form is sent.
   * @param {HTMLFormElement} form
   * @param {import("./elements.js").Words} words what is being done then
   * @param {() => {clips: import("./clip.js").Clip[], names: string[]}} asked which clips it is about, and by which
   *     names the service calls them
   * @param {(signal: AbortSignal) => Promise<Node[]>} work
   */
  answers(form, words, asked, work) {
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      if (this.isBusy) return;
      const { clips, names } = asked();
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
    this.busy(true);
    const line = make("p", { className: "working" }, make("span", { words }));
    this.region.replaceChildren(line);
    const stop = clock(line);
    let nodes;
    try {
      nodes = await work(signal);
    } catch (error) {
      if (signal.aborted) return;
      const problem = asProblem(error);
      nodes = [problemNode(problem)];
      problem.over?.then(() => nodes[0].remove());
    } finally {
      stop();
    }
    if (signal.aborted) return;
    this.busy(false);
    this.region.replaceChildren(...nodes);
    reveal(this.region);
  }
}

/** Show how long something takes, once it takes long; a function that ends it. */
function clock(line) {
  const begun = performance.now();
  const time = make("span", { className: "time", "aria-hidden": "true" });
  line.append(" ", time);
  const timer = setInterval(() => {
    const seconds = Math.floor((performance.now() - begun) / 1000);
    if (seconds >= PATIENCE_S) say(time, { text: "seconds", values: { seconds: String(seconds) } });
  }, 1000);
  return () => clearInterval(timer);
}

/** Bring an answer into view, where it is not. */
function reveal(region) {
  const { top, bottom, height } = region.getBoundingClientRect();
  if (height === 0 || (top >= 0 && bottom <= window.innerHeight)) return;
  const isCalm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  region.scrollIntoView({ block: height < window.innerHeight ? "nearest" : "start", behavior: isCalm ? "auto" : "smooth" });
}

/**
 * @param {import("./problems.js").Problem} problem
 * @param {import("./elements.js").Words[]} reasons for it
 */
export function problemNode({ words, refusals }, reasons = refusals.map(refusalWords)) {
  return make("div", { className: "problem" },
    make("p", {}, make("strong", { words: { text: "mark_error" } }), " ", make("span", { words })),
    ...(reasons.length > 0 ? [make("ul", {}, ...reasons.map((reason) => make("li", { words: reason })))] : []));
}
