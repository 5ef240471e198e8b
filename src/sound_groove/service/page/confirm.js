/** A question before what cannot be undone. */

import { find } from "./elements.js";
import { say } from "./language.js";

/**
 * @param {import("./elements.js").Words[]} sentences what is asked
 * @param {import("./elements.js").Words} yes what the button says that does it
 * @returns {Promise<boolean>}
 */
export function confirm(sentences, yes) {
  const [dialog, before] = [find("confirm"), document.activeElement];
  find("confirm-question").replaceChildren(...sentences.map((words) => say(document.createElement("p"), words)));
  say(find("confirm-yes"), yes);
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.onclose = () => {
      before.focus();
      resolve(dialog.returnValue === "yes");
    };
  });
}
