/** An answer to take away: copied as text, or downloaded as the service gave it. */

import { make } from "./elements.js";
import { say } from "./language.js";

/**
 * @param {string} kind of the answer, which begins the file's name
 * @param {Object} answer of the service
 * @param {() => string[]} lines of the text, in the language of the page
 */
export function shareRow(kind, answer, lines) {
  const said = make("span", { className: "muted", role: "status" });
  const copy = make("button", { type: "button", className: "small", words: { text: "copy" } });
  copy.addEventListener("click", async () => {
    const isCopied = await copied(lines().join("\n"), copy);
    say(said, { text: isCopied ? "copied" : "not_copied" });
  });
  const download = make("button", { type: "button", className: "small", words: { text: "download" } });
  download.addEventListener("click", () => {
    const url = URL.createObjectURL(new Blob([`${JSON.stringify(answer, null, 2)}\n`], { type: "application/json" }));
    const time = new Date().toISOString().slice(0, 19).replace(/[:T]/g, "-");
    make("a", { href: url, download: `sound-groove-${kind}-${time}.json` }).click();
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
  });
  return make("div", { className: "row share" }, copy, download, said);
}

/** The text of the parts of an answer that are marked for it. */
export function markedLines(node) {
  return [...node.querySelectorAll("[data-shared]")].map((part) => part.innerText.replace(/\s+/g, " ").trim());
}

/** Whether a text was copied; where the browser lends its clipboard to https only, by way of a field. */
async function copied(text, button) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const field = make("textarea", { value: text });
    button.after(field);
    field.select();
    const isCopied = document.execCommand("copy");
    field.remove();
    button.focus();
    return isCopied;
  }
}
