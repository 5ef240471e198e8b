/** How recordings are cut into the pieces that a network is given. */

import { concatenated, evenlySpaced, roundEven } from "../numbers.js";

/** @typedef {[number, number]} Span first sample, and the one after the last */

/**
 * The item a whole number of times, so that it lasts at least `least` and every part of it counts the same.
 * @param {Float32Array} item
 * @param {number} least
 */
export function repeated(item, least) {
  return item.length < least ? concatenated(Array(Math.ceil(least / item.length)).fill(item)) : item;
}

/**
 * The fewest windows of (nearly) equal length, none longer than `longest`.
 * @param {number} total
 * @param {number} longest
 * @returns {Span[]}
 */
export function windows(total, longest) {
  const edges = evenlySpaced(0, total, Math.ceil(total / longest) + 1).map(roundEven);
  return edges.slice(1).map((end, i) => [edges[i], end]);
}
