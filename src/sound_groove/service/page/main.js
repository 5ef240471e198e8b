/** The page: what it is made of, begun. */

import { ask } from "./client.js";
import { beginCompare } from "./compare.js";
import { beginDrop } from "./drop.js";
import { find } from "./elements.js";
import { beginEnrol, sayWhetherKnown } from "./enrol.js";
import { beginIdentify } from "./identify.js";
import { beginLanguage, say } from "./language.js";
import { setLimits } from "./limits.js";
import { refreshPeople } from "./people.js";
import { asProblem } from "./problems.js";
import { problemNode } from "./result.js";
import { beginSpeakers } from "./speakers.js";
import { beginTabs } from "./tabs.js";
import { beginWho } from "./who.js";

beginLanguage();
beginDrop({ compare: beginCompare(), identify: beginIdentify(), who: beginWho(), enrol: beginEnrol() });
const shown = { speakers: beginSpeakers(), enrol: () => refreshPeople().then(sayWhetherKnown) };
beginTabs((name) => shown[name]?.());
introduce();

/** Say which model answers, and learn what it takes; once more when a service that is gone is back. */
async function introduce() {
  try {
    const { model, version, limits, documentation } = await ask("v1/info");
    setLimits(limits);
    say(find("model"), { text: "model", values: { name: model.name, hash: model.hash.slice(0, 12), version } });
    find("documentation").hidden = !documentation;
    if (documentation) find("documentation").href = documentation;
    find("troubles").replaceChildren();
  } catch (error) {
    const problem = asProblem(error);
    find("troubles").replaceChildren(problemNode(problem));
    problem.over?.then(introduce);
  }
}
