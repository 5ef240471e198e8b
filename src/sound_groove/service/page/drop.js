/** Files that are dropped anywhere on the page go to the section that is shown. */

import { find } from "./elements.js";
import { Problem } from "./problems.js";
import { problemNode } from "./result.js";

/**
 * @param {Object<string, (files: File[]) => boolean>} takers of the sections by name; false: there is no place for more
 */
export function beginDrop(takers) {
  let over = 0;
  const troubles = find("troubles");
  const count = (change) => {
    over = change === 0 ? 0 : Math.max(0, over + change);
    document.body.classList.toggle("dropping", over > 0);
  };
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
  window.addEventListener("dragenter", (event) => hasFiles(event) && count(1));
  window.addEventListener("dragleave", (event) => hasFiles(event) && count(-1));
  window.addEventListener("dragover", (event) => event.preventDefault()); // else the file would take the page's place
  window.addEventListener("drop", (event) => {
    count(0);
    const isTaken = event.defaultPrevented; // by the clip that it was dropped on
    event.preventDefault();
    const files = [...(event.dataTransfer?.files ?? [])];
    if (isTaken || files.length === 0) return;
    const section = document.querySelector("[role=tabpanel]:not([hidden])").id;
    troubles.replaceChildren(...(takers[section]?.(files) ? [] : [problemNode(new Problem("drop_nowhere"))]));
  });
}
