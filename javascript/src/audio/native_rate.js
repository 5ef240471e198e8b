/**
 * At which rate a file is to be decoded.
 *
 * A browser's decoder resamples to the rate of its context, each browser in its own way. So the file's own rate is read
 * from its header, and a context of that rate decodes it.
 */

const MPEG_RATES = [44100, 48000, 32000];
const OPUS_RATE = 48000; // at which Opus is decoded, whatever was encoded

/** @typedef {{decode: number, source: number}} Rates in Hz: to decode at, and that of what was encoded */

/**
 * @param {DataView} view of a file
 * @returns {Rates | null} null where the header is of a kind that is not looked into
 */
export function ratesOf(view) {
  const text = (/** @type {number} */ from, /** @type {number} */ length) =>
    String.fromCharCode(...Array.from({ length }, (_, i) => (from + i < view.byteLength ? view.getUint8(from + i) : 0)));
  if (text(0, 4) === "fLaC" && view.byteLength >= 21) return same((view.getUint16(18) << 4) | (view.getUint8(20) >> 4));
  if (text(0, 4) === "OggS") return ofOgg(view, text);
  const tag = text(0, 3) === "ID3" && view.byteLength >= 10
    ? 10 + [6, 7, 8, 9].reduce((size, place) => size * 128 + (view.getUint8(place) & 0x7f), 0) : 0;
  return ofMpeg(view, tag);
}

/** @param {number} rate @returns {Rates} */
function same(rate) {
  return { decode: rate, source: rate };
}

/** @param {DataView} view @param {(from: number, length: number) => string} text @returns {Rates | null} */
function ofOgg(view, text) {
  if (view.byteLength < 64) return null;
  const body = 27 + view.getUint8(26); // behind the header of the first page
  if (text(body, 8) === "OpusHead") {
    const encoded = view.getUint32(body + 12, true);
    // Those that a decoder of Opus can give; of any other it gives 48 kHz.
    const source = [8000, 12000, 16000, 24000].includes(encoded) ? encoded : OPUS_RATE;
    return { decode: OPUS_RATE, source };
  }
  if (text(body, 7) === "\x01vorbis") return same(view.getUint32(body + 12, true));
  if (text(body, 5) === "\x7fFLAC" && body + 30 < view.byteLength) {
    return same((view.getUint16(body + 27) << 4) | (view.getUint8(body + 29) >> 4));
  }
  return null;
}

/** Of MPEG audio, layers 1 to 3. @param {DataView} view @param {number} place of its first frame @returns {Rates | null} */
function ofMpeg(view, place) {
  if (place + 4 > view.byteLength || (view.getUint16(place) & 0xffe0) !== 0xffe0) return null;
  const [version, layer] = [(view.getUint8(place + 1) >> 3) & 3, (view.getUint8(place + 1) >> 1) & 3];
  const rate = MPEG_RATES[(view.getUint8(place + 2) >> 2) & 3];
  if (version === 1 || layer === 0 || !rate) return null;
  return same(rate / { 3: 1, 2: 2, 0: 4 }[/** @type {0 | 2 | 3} */ (version)]);
}
