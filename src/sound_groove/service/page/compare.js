/** Are two clips of the same speaker? */

import { ask } from "./client.js";
import { Clip } from "./clip.js";
import { find } from "./elements.js";
import { Problem } from "./problems.js";
import { Result } from "./result.js";
import { verdictNode } from "./verdict.js";
import { sortWarnings } from "./warnings.js";

export function beginCompare() {
  const result = new Result(find("compare-result"));
  const clips = ["clip_a", "clip_b"].map((text) => new Clip({ text }, { changed: () => result.clear() }));
  find("compare-clips").append(...clips.map((clip) => clip.node));
  find("compare-form").addEventListener("submit", (event) => {
    event.preventDefault();
    result.work({ text: "comparing" }, async (signal) => {
      for (const clip of clips) await clip.end();
      const missing = clips.find((clip) => !clip.file);
      if (missing) {
        missing.focus();
        throw new Problem("clip_missing", { clip: missing.title });
      }
      return compare(clips, signal);
    });
  });
}

/** @param {Clip[]} clips two of them */
async function compare(clips, signal) {
  const form = new FormData();
  form.append("a", clips[0].file);
  form.append("b", clips[1].file);
  const comparison = await ask("v1/compare", { method: "POST", form, signal });
  const { ofClips, others } = sortWarnings(comparison.warnings, clips.length);
  clips.forEach((clip, index) => {
    clip.describe(comparison.audio[index]);
    clip.warn(ofClips[index]);
  });
  return [verdictNode(comparison, others)];
}
