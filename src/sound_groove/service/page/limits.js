/** What the service takes, as it says itself, so that nobody waits for an upload that is refused. */

import { Problem } from "./problems.js";

const FORM_BYTES = 10_000; // what a form has beside its files, rather too many

let known = { upload_bytes: Infinity, duration_s: Infinity, recordings: 20, who: { upload_bytes: Infinity } };

export function limits() {
  return known;
}

/** @param {typeof known} said by the service */
export function setLimits(said) {
  known = said;
}

/**
 * @param {File[]} files that are to be sent together
 * @param {number} limit bytes that they may have
 * @throws {Problem} the service would refuse them
 */
export function checkSizes(files, limit = known.upload_bytes) {
  const empty = files.find((file) => file.size === 0);
  if (empty) throw new Problem("file_empty", { name: empty.name });
  const size = files.reduce((sum, file) => sum + file.size, FORM_BYTES);
  if (size > limit) {
    throw new Problem("files_large", { size: (size / 1e6).toFixed(1), limit: (limit / 1e6).toFixed(1) });
  }
}
