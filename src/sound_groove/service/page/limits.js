/** What the service takes, as it says itself, so that nobody waits for an upload that is refused. */

import { Problem } from "./problems.js";

let known = { bytes: Infinity, duration_s: Infinity };

export function limits() {
  return known;
}

/** @param {{bytes?: number, duration_s?: number}} said by the service; what it leaves out has no limit */
export function setLimits(said) {
  known = { bytes: said.bytes ?? Infinity, duration_s: said.duration_s ?? Infinity };
}

/**
 * @param {File} file
 * @throws {Problem} the service would refuse it
 */
export function checkSize(file) {
  if (file.size === 0) throw new Problem("file_empty", { name: file.name });
  if (file.size > known.bytes) {
    throw new Problem("file_large", { name: file.name, size: megabytes(file.size), limit: megabytes(known.bytes) });
  }
}

/** 12345678 -> "12.3" */
function megabytes(bytes) {
  return (bytes / 1e6).toFixed(1);
}
