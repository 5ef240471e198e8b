/** The language of the page: that of the browser, or the one that was chosen here last. */

import { TEXTS } from "./texts.js";

const REMEMBERED = "sound-groove language";

/** @returns {"en" | "zh"} */
export function language() {
  return document.documentElement.lang.startsWith("zh") ? "zh" : "en";
}

/** Choose the language to begin with, and say everything in it. */
export function beginLanguage() {
  const [first] = [remembered(), ...navigator.languages].filter((tag) => tag && short(tag) in TEXTS);
  use(short(first ?? "en"));
  for (const button of document.querySelectorAll("[data-language]")) {
    button.addEventListener("click", () => {
      use(button.dataset.language);
      try {
        localStorage.setItem(REMEMBERED, button.dataset.language);
      } catch {
        // A browser that stores nothing forgets the choice, and that is all.
      }
    });
  }
}

/**
 * Words in the language of the page.
 * @param {import("./elements.js").Words} words
 * @returns {string}
 */
export function phrase({ text, values = {} }) {
  const pattern = TEXTS[language()][text];
  if (pattern === undefined) throw new Error(`texts.js has no text '${text}'`);
  return pattern.replace(/\{(\w+)\}/g, (_, name) => {
    const value = values[name];
    return value !== null && typeof value === "object" ? phrase(value) : String(value);
  });
}

/** Are there words for this key? */
export function known(text) {
  return text in TEXTS.en;
}

/** Put words into an element, which follow the language from then on. */
export function say(node, words) {
  node.dataset.text = words.text;
  node.dataset.values = JSON.stringify(words.values ?? {});
  node.textContent = phrase(words);
  return node;
}

/** Name an element for those who do not see it; the name follows the language. */
export function sayLabel(node, words) {
  node.dataset.label = words.text;
  node.dataset.labelValues = JSON.stringify(words.values ?? {});
  node.setAttribute("aria-label", phrase(words));
  return node;
}

/** @param {"en" | "zh"} chosen */
function use(chosen) {
  document.documentElement.lang = chosen === "zh" ? "zh-CN" : "en";
  document.title = phrase({ text: "title" });
  for (const node of document.querySelectorAll("[data-text]")) {
    node.textContent = phrase({ text: node.dataset.text, values: JSON.parse(node.dataset.values ?? "{}") });
  }
  for (const node of document.querySelectorAll("[data-label]")) {
    const values = JSON.parse(node.dataset.labelValues ?? "{}");
    node.setAttribute("aria-label", phrase({ text: node.dataset.label, values }));
  }
  for (const button of document.querySelectorAll("[data-language]")) {
    button.setAttribute("aria-pressed", String(button.dataset.language === chosen));
  }
}

function remembered() {
  try {
    return localStorage.getItem(REMEMBERED);
  } catch {
    return null; // the browser allows no storage
  }
}

/** "zh-Hant-TW" -> "zh" */
function short(tag) {
  return tag.split("-")[0].toLowerCase();
}
