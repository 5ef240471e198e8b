/** The discrete Fourier transform, of any length. */

/** @typedef {{re: Float64Array, im: Float64Array}} Complex */

/** @type {Map<number, {cos: Float64Array, sin: Float64Array, order: Uint32Array}>} */
const tables = new Map();

/**
 * The power of a row's spectrum.
 * @param {ArrayLike<number>} row
 * @param {number} size of the transform; what the row lacks is zero
 * @returns {Float64Array} (size / 2 + 1,)
 */
export function powerSpectrum(row, size) {
  const { re, im } = spectrum(row, size);
  const power = new Float64Array((size >> 1) + 1);
  for (let k = 0; k < power.length; k += 1) power[k] = re[k] * re[k] + im[k] * im[k];
  return power;
}

/**
 * The autocorrelation whose spectrum has this power.
 * @param {Float64Array} power (size / 2 + 1,), size a power of two
 * @returns {Float64Array} (size,)
 */
export function autocorrelation(power) {
  const size = 2 * (power.length - 1);
  const re = new Float64Array(size);
  re.set(power);
  for (let k = 1; k < power.length - 1; k += 1) re[size - k] = power[k];
  transform(re, new Float64Array(size)); // of an even row it is its own inverse, but for the scale
  return re.map((value) => value / size);
}

/**
 * The transform of a row.
 * @param {ArrayLike<number>} row
 * @param {number} size of the transform; what the row lacks is zero
 * @returns {Complex} (size,) each
 */
export function spectrum(row, size) {
  const re = new Float64Array(size);
  for (let i = 0; i < Math.min(row.length, size); i += 1) re[i] = row[i];
  const im = new Float64Array(size);
  if ((size & (size - 1)) === 0) transform(re, im);
  else return ofAnyLength(re);
  return { re, im };
}

/** In place, of a length that is a power of two (Cooley and Tukey 1965). @param {Float64Array} re @param {Float64Array} im */
function transform(re, im) {
  const size = re.length;
  const { cos, sin, order } = tableOf(size);
  for (let i = 0; i < size; i += 1) {
    const j = order[i];
    if (j <= i) continue;
    const real = re[i];
    re[i] = re[j];
    re[j] = real;
    const imaginary = im[i];
    im[i] = im[j];
    im[j] = imaginary;
  }
  for (let half = 1; half < size; half *= 2) {
    const step = size / (2 * half);
    for (let start = 0; start < size; start += 2 * half) {
      for (let k = 0; k < half; k += 1) {
        const a = start + k;
        const b = a + half;
        const c = cos[k * step];
        const s = sin[k * step];
        const x = re[b] * c + im[b] * s;
        const y = im[b] * c - re[b] * s;
        re[b] = re[a] - x;
        im[b] = im[a] - y;
        re[a] += x;
        im[a] += y;
      }
    }
  }
}

/** Of another length, by a convolution (Bluestein 1970). @param {Float64Array} row @returns {Complex} */
function ofAnyLength(row) {
  const count = row.length;
  let size = 1;
  while (size < 2 * count - 1) size *= 2;
  const angle = (/** @type {number} */ i) => (Math.PI * ((i * i) % (2 * count))) / count;
  const [aRe, aIm, bRe, bIm] = [0, 0, 0, 0].map(() => new Float64Array(size));
  for (let i = 0; i < count; i += 1) {
    const [c, s] = [Math.cos(angle(i)), Math.sin(angle(i))];
    [aRe[i], aIm[i]] = [row[i] * c, -row[i] * s];
    [bRe[i], bIm[i]] = [c, s];
    if (i > 0) [bRe[size - i], bIm[size - i]] = [c, s];
  }
  transform(aRe, aIm);
  transform(bRe, bIm);
  const [re, im] = [new Float64Array(size), new Float64Array(size)];
  for (let i = 0; i < size; i += 1) { // conjugated, so that the transform is the inverse one
    re[i] = aRe[i] * bRe[i] - aIm[i] * bIm[i];
    im[i] = -(aRe[i] * bIm[i] + aIm[i] * bRe[i]);
  }
  transform(re, im);
  const found = { re: new Float64Array(count), im: new Float64Array(count) };
  for (let i = 0; i < count; i += 1) {
    const [x, y] = [re[i] / size, -im[i] / size];
    const [c, s] = [Math.cos(angle(i)), Math.sin(angle(i))];
    found.re[i] = x * c + y * s;
    found.im[i] = y * c - x * s;
  }
  return found;
}

/** @param {number} size */
function tableOf(size) {
  const known = tables.get(size);
  if (known) return known;
  const cos = Float64Array.from({ length: size / 2 }, (_, i) => Math.cos((2 * Math.PI * i) / size));
  const sin = Float64Array.from({ length: size / 2 }, (_, i) => Math.sin((2 * Math.PI * i) / size));
  const order = new Uint32Array(size);
  for (let i = 1; i < size; i += 1) order[i] = (order[i >> 1] >> 1) | (i & 1 ? size >> 1 : 0);
  const made = { cos, sin, order };
  tables.set(size, made);
  return made;
}
