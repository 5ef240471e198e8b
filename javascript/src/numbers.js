/** Arithmetic on rows of numbers, as numpy defines it: quantiles, even spacing, rounding, spectra. */

/** @typedef {Float32Array | Float64Array} Row */

/** @param {ArrayLike<number>} values */
export function sum(values) {
  let total = 0;
  for (let i = 0; i < values.length; i += 1) total += values[i];
  return total;
}

/** @param {ArrayLike<number>} values at least one */
export function mean(values) {
  return sum(values) / values.length;
}

/** The standard deviation of all there are. @param {ArrayLike<number>} values at least one */
export function deviation(values) {
  const middle = mean(values);
  let squares = 0;
  for (let i = 0; i < values.length; i += 1) squares += (values[i] - middle) ** 2;
  return Math.sqrt(squares / values.length);
}

/**
 * The value below which this share of the values lies, between two of them on a line.
 * @param {ArrayLike<number>} values at least one
 * @param {number} share in [0, 1]
 */
export function quantile(values, share) {
  const rising = Float64Array.from(values).sort();
  const place = share * (rising.length - 1);
  const below = Math.floor(place);
  const above = Math.min(below + 1, rising.length - 1);
  return rising[below] + (rising[above] - rising[below]) * (place - below);
}

/**
 * The same, but one of the values: the higher of the two.
 * @param {ArrayLike<number>} values at least one
 * @param {number} share
 */
export function higherQuantile(values, share) {
  return Float64Array.from(values).sort()[Math.ceil(share * (values.length - 1))];
}

/** @param {ArrayLike<number>} values at least one */
export function median(values) {
  return quantile(values, 0.5);
}

/** To the nearest whole number, halves to the even one. @param {number} value */
export function roundEven(value) {
  const below = Math.floor(value);
  const rest = value - below;
  if (rest !== 0.5) return Math.round(value);
  return below % 2 === 0 ? below : below + 1;
}

/** @param {number} value @param {number} digits behind the point */
export function rounded(value, digits) {
  return roundEven(value * 10 ** digits) / 10 ** digits + 0; // never -0
}

/**
 * Evenly spaced numbers from the first to the last.
 * @param {number} first
 * @param {number} last
 * @param {number} count at least 1
 */
export function evenlySpaced(first, last, count) {
  const step = count > 1 ? (last - first) / (count - 1) : 0;
  return Array.from({ length: count }, (_, i) => (i > 0 && i === count - 1 ? last : first + i * step));
}

/**
 * First index of each run of true, and the index after its last.
 * @param {ArrayLike<number | boolean>} flags
 * @returns {[number, number][]}
 */
export function runs(flags) {
  /** @type {[number, number][]} */
  const found = [];
  for (let i = 0; i < flags.length; i += 1) {
    if (!flags[i]) continue;
    if (i > 0 && flags[i - 1]) found[found.length - 1][1] = i + 1;
    else found.push([i, i + 1]);
  }
  return found;
}

/** Rows one after the other. @param {Float32Array[]} rows */
export function concatenated(rows) {
  const whole = new Float32Array(rows.reduce((length, row) => length + row.length, 0));
  let place = 0;
  for (const row of rows) {
    whole.set(row, place);
    place += row.length;
  }
  return whole;
}

/** @param {ArrayLike<number>} a @param {ArrayLike<number>} b of the same length */
export function dot(a, b) {
  let total = 0;
  for (let i = 0; i < a.length; i += 1) total += a[i] * b[i];
  return total;
}

/** @param {ArrayLike<number>} values */
export function lengthOf(values) {
  return Math.sqrt(dot(values, values));
}

/** The mean of rows of one length. @param {ArrayLike<number>[]} rows at least one */
export function meanRow(rows) {
  const total = new Float64Array(rows[0].length);
  for (const row of rows) for (let i = 0; i < total.length; i += 1) total[i] += row[i];
  return total.map((value) => value / rows.length);
}

/** A window of Hann's, zero at both ends. @param {number} length */
export function hann(length) {
  return Float64Array.from({ length }, (_, i) => 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / (length - 1)));
}

/** A number with a comma between thousands. @param {number} value */
export function withCommas(value) {
  return value.toLocaleString("en-US", { maximumFractionDigits: 0 });
}
