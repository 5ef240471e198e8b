/** The key of a service that wants one: asked for when it does, kept in this tab until it closes. */

import { find } from "./elements.js";
import { Problem } from "./problems.js";

const KEPT = "sound-groove key";

let current = kept();
/** @type {Promise<void> | null} the question that is being asked */
let asked = null;

export function key() {
  return current;
}

export function forgetKey() {
  const wrong = find("key-wrong");
  wrong.hidden = current === "";
  keep("");
}

/**
 * Ask for a key.
 * @throws {Problem} none was given
 */
export function askForKey() {
  asked ??= new Promise((resolve, reject) => {
    const [form, field, before] = [find("key-form"), find("key-field"), document.activeElement];
    form.hidden = false;
    field.oninput = () => { find("key-wrong").hidden = true; };
    field.value = "";
    field.focus();
    const done = (finish) => {
      form.hidden = true;
      before.focus();
      asked = null;
      finish();
    };
    form.onsubmit = (event) => {
      event.preventDefault();
      keep(field.value.trim());
      field.value = "";
      done(resolve);
    };
    find("key-cancel").onclick = () => done(() => reject(new Problem("error_key")));
  });
  return asked;
}

function kept() {
  try {
    return sessionStorage.getItem(KEPT) ?? "";
  } catch {
    return ""; // the browser allows no storage
  }
}

/** @param {string} value */
function keep(value) {
  current = value;
  try {
    if (value) sessionStorage.setItem(KEPT, value);
    else sessionStorage.removeItem(KEPT);
  } catch {
    // It is kept in memory alone then.
  }
}
