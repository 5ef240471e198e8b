/** The names of those who are enrolled, for fields in which one is asked for. */

import { ask } from "./client.js";
import { find, make } from "./elements.js";

const MOST = 1000; // names that a field offers

let names = new Set();

/** Ask anew who is enrolled, quietly: a field without offers is a field. */
export async function refreshPeople() {
  try {
    const { speakers } = await ask(`v1/speakers?limit=${MOST}`);
    names = new Set(speakers.map(({ name }) => name));
    find("people").replaceChildren(...speakers.map(({ name }) => make("option", { value: name })));
  } catch {
    // Whatever is asked next says why.
  }
}

/** Is somebody known by this name? */
export function isEnrolled(name) {
  return names.has(name);
}
