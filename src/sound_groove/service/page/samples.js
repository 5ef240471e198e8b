/** Clips that come with the service, so that one can try it at once. */

import { make } from "./elements.js";
import { Problem } from "./problems.js";

const SAMPLES = [["rms-1.flac", "sample_a1"], ["rms-2.flac", "sample_a2"], ["slt-1.flac", "sample_b"]];

/**
 * A button that offers the samples in its place.
 * @param {string} describedby id of what names the clip
 * @param {(file: File) => void} take the one that is chosen
 * @param {(problem: Problem) => void} failed it cannot be had
 */
export function sampleButton(describedby, take, failed) {
  const offered = make("span", { className: "row", hidden: true });
  const first = make("button", { type: "button", className: "small", words: { text: "sample" }, "aria-describedby": describedby });
  first.addEventListener("click", () => {
    first.hidden = true;
    offered.hidden = false;
    offered.querySelector("button").focus();
  });
  const close = () => {
    first.hidden = false;
    offered.hidden = true;
  };
  offered.append(...SAMPLES.map(([name, text]) => {
    const button = make("button", { type: "button", className: "small", words: { text }, "aria-describedby": describedby });
    button.addEventListener("click", async () => {
      close();
      const answer = await fetch(`page/samples/${name}`).catch(() => null);
      if (answer?.ok) take(new File([await answer.blob()], name, { type: "audio/flac" }));
      else failed(new Problem("error_unreachable"));
    });
    return button;
  }));
  return make("span", { className: "samples" }, first, offered);
}
