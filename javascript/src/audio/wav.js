/** Wav files, decoded here, so that nothing resamples them on the way. */

import { AudioError } from "../errors.js";

/** @typedef {{channels: Float32Array[], sampleRate: number, warnings: {code: string, message: string}[]}} Decoded at the
 *     rate of the file, full scale at 1 */
/** @typedef {{coding: number, channels: number, sampleRate: number, blockBytes: number, bits: number}} Format */

const [INTEGERS, FLOATS, A_LAW, MU_LAW, EXTENSIBLE] = [1, 3, 6, 7, 0xfffe];
const CUT_OFF = "is truncated or damaged: it ends within its header; copy it again";

/** @param {DataView} view */
export function isWav(view) {
  return view.byteLength >= 12 && name(view, 0) === "RIFF" && name(view, 8) === "WAVE";
}

/**
 * @param {DataView} view of the file
 * @param {string} called the recording
 * @returns {Decoded}
 * @throws {AudioError} it is damaged, or in a coding that is not known here
 */
export function decodeWav(view, called) {
  /** @type {Format | null} */
  let format = null;
  for (let place = 12; place + 8 <= view.byteLength;) {
    const [chunk, length, begin] = [name(view, place), view.getUint32(place + 4, true), place + 8];
    if (chunk === "data" && format) return samplesOf(view, begin, length, format, called);
    if (chunk === "fmt ") format = formatOf(view, begin, called);
    place = begin + length + (length % 2);
  }
  throw new AudioError(called, CUT_OFF, "damaged");
}

/** @param {DataView} view @param {number} place */
function name(view, place) {
  return String.fromCharCode(...[0, 1, 2, 3].map((i) => view.getUint8(place + i)));
}

/** @param {DataView} view @param {number} place @param {string} called @returns {Format} */
function formatOf(view, place, called) {
  if (place + 16 > view.byteLength) throw new AudioError(called, CUT_OFF, "damaged");
  const coding = view.getUint16(place, true);
  const isExtended = coding === EXTENSIBLE && place + 26 <= view.byteLength;
  return {
    coding: isExtended ? view.getUint16(place + 24, true) : coding,
    channels: view.getUint16(place + 2, true),
    sampleRate: view.getUint32(place + 4, true),
    blockBytes: view.getUint16(place + 12, true),
    bits: view.getUint16(place + 14, true),
  };
}

/** @param {DataView} view @param {number} begin @param {number} length @param {Format} format @param {string} called */
function samplesOf(view, begin, length, format, called) {
  const warnings = [];
  const there = view.byteLength - begin;
  if (length >= 0xffffff00 || (length === 0 && there > 0)) { // a writer that could not go back
    const message = "its header does not say how long it is, and all of it was read; make sure that its end is as it should be";
    warnings.push({ code: "length_in_doubt", message });
  } else if (length > there) {
    const reason = `is truncated: its header promises ${length} bytes of samples, the file has ${there}; copy it again`;
    throw new AudioError(called, reason, "damaged");
  }
  const bytes = format.bits / 8;
  const read = readerOf(view, format);
  if (!read || format.channels < 1 || format.blockBytes !== bytes * format.channels) {
    const reason = `is a wav in a coding that is not known here (${format.coding}, ${format.bits} bits); convert it to 16-bit PCM`;
    throw new AudioError(called, reason, "foreign_format");
  }
  const frames = Math.floor((warnings.length > 0 ? there : length) / format.blockBytes);
  const channels = Array.from({ length: format.channels }, (_, channel) => {
    const samples = new Float32Array(frames);
    for (let i = 0; i < frames; i += 1) samples[i] = read(begin + i * format.blockBytes + channel * bytes);
    return samples;
  });
  return { channels, sampleRate: format.sampleRate, warnings };
}

/** @param {DataView} view @param {Format} format @returns {((place: number) => number) | null} */
function readerOf(view, { coding, bits }) {
  if (coding === INTEGERS && bits === 8) return (place) => (view.getUint8(place) - 128) / 128;
  if (coding === INTEGERS && bits === 16) return (place) => view.getInt16(place, true) / 32768;
  if (coding === INTEGERS && bits === 24) {
    return (place) => (view.getUint16(place, true) + view.getInt8(place + 2) * 65536) / 8388608;
  }
  if (coding === INTEGERS && bits === 32) return (place) => view.getInt32(place, true) / 2147483648;
  if (coding === FLOATS && bits === 32) return (place) => view.getFloat32(place, true);
  if (coding === FLOATS && bits === 64) return (place) => view.getFloat64(place, true);
  if (coding === MU_LAW && bits === 8) return (place) => muLaw(view.getUint8(place)) / 32768;
  if (coding === A_LAW && bits === 8) return (place) => aLaw(view.getUint8(place)) / 32768;
  return null;
}

/** ITU-T G.711. @param {number} code */
function muLaw(code) {
  const value = ~code & 0xff;
  const size = (((value & 0x0f) << 3) + 0x84) << ((value & 0x70) >> 4);
  return value & 0x80 ? 0x84 - size : size - 0x84;
}

/** ITU-T G.711. @param {number} code */
function aLaw(code) {
  const value = code ^ 0x55;
  const step = (value & 0x70) >> 4;
  const size = step === 0 ? ((value & 0x0f) << 4) + 8 : (((value & 0x0f) << 4) + 0x108) << (step - 1);
  return value & 0x80 ? size : -size;
}
