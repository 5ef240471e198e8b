/** The page: what it is made of, begun. */

import { ask } from "./client.js";
import { beginCompare } from "./compare.js";
import { find } from "./elements.js";
import { beginEnrol } from "./enrol.js";
import { beginIdentify } from "./identify.js";
import { beginLanguage, say } from "./language.js";
import { setLimits } from "./limits.js";
import { asProblem } from "./problems.js";
import { problemNode } from "./result.js";
import { beginSpeakers } from "./speakers.js";
import { beginTabs } from "./tabs.js";
import { beginWho } from "./who.js";

beginLanguage();
beginCompare();
beginIdentify();
beginWho();
beginEnrol();
const list = beginSpeakers();
beginTabs((name) => name === "speakers" && list());
// A file that misses its place must not take the page away, with all that is on it.
for (const name of ["dragover", "drop"]) window.addEventListener(name, (event) => event.preventDefault());
introduce();

/** Say which model answers, and learn what it takes. */
async function introduce() {
  try {
    const { model, version, limits } = await ask("v1/info");
    setLimits(limits);
    say(find("model"), { text: "model", values: { name: model.name, hash: model.hash.slice(0, 12), version } });
  } catch (error) {
    find("troubles").replaceChildren(problemNode(asProblem(error)));
  }
}
