/** Questions to the service, and its refusals as problems. */

import { askForKey, forgetKey, key } from "./key.js";
import { known } from "./language.js";
import { Problem } from "./problems.js";

const TRIED_MS = 3000; // between two looks whether the service is back

/** @type {Promise<void> | null} */
let back = null;

/**
 * Ask the service. Where it wants a key, whoever uses the page is asked for one, and the question is put again.
 * @param {string} path below the page's own address
 * @param {{method?: string, form?: FormData, signal?: AbortSignal}} question
 * @returns {Promise<any>} its answer
 * @throws {Problem} it refused, or is not there
 * @throws {DOMException} named AbortError: the signal said so
 */
export async function ask(path, { method = "GET", form, signal } = {}) {
  for (;;) {
    const headers = key() ? { Authorization: `Bearer ${key()}` } : {};
    const response = await fetch(path, { method, body: form, signal, headers }).catch((error) => {
      throw error.name === "AbortError" ? error : new Problem("error_unreachable", {}, [], isBack());
    });
    if (response.status === 401) {
      forgetKey();
      await askForKey();
      continue;
    }
    const answer = await response.json().catch(() => null);
    if (response.ok) return answer;
    throw refusal(response, answer?.error);
  }
}

/** Fulfilled when a service that did not answer does so again. */
function isBack() {
  back ??= (async () => {
    for (let answers = false; !answers;) {
      await later(TRIED_MS);
      answers = await fetch("healthz").then(({ ok }) => ok, () => false);
    }
    back = null;
  })();
  return back;
}

function later(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/**
 * @param {Response} response
 * @param {{code: string, message: string, refusals: import("./refusals.js").Refusal[]} | undefined} error as the service puts it
 */
function refusal(response, error) {
  const seconds = response.headers.get("Retry-After");
  if (seconds) return new Problem("error_busy", { seconds }, [], later(1000 * Number(seconds)));
  if (!error) return new Problem("error_status", { status: String(response.status) });
  const { code, message, refusals = [] } = error;
  return new Problem(known(`error_${code}`) ? `error_${code}` : "as_said", { message }, refusals);
}
