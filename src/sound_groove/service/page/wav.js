/** Samples as a WAV file, and files as samples. */

const HEADER_BYTES = 44;
const PREVIEW_RATE = 16000; // Hz; enough for a picture, and a third of the memory of 48 kHz

/** @typedef {{samples: Float32Array, sampleRate: number}} Sound one channel, full scale at 1 */

/**
 * A mono WAV file of 16-bit integers.
 * @param {Sound} sound
 * @returns {ArrayBuffer}
 */
export function encodeWav({ samples, sampleRate }) {
  const view = new DataView(new ArrayBuffer(HEADER_BYTES + 2 * samples.length));
  const name = (place, letters) => [...letters].forEach((letter, i) => view.setUint8(place + i, letter.charCodeAt(0)));
  name(0, "RIFF");
  view.setUint32(4, view.byteLength - 8, true);
  name(8, "WAVEfmt ");
  view.setUint32(16, 16, true); // bytes of what follows up to 'data'
  view.setUint16(20, 1, true); // integers
  view.setUint16(22, 1, true); // channels
  view.setUint32(24, sampleRate, true);
  view.setUint32(28, 2 * sampleRate, true); // bytes a second
  view.setUint16(32, 2, true); // bytes a frame
  view.setUint16(34, 16, true); // bits a sample
  name(36, "data");
  view.setUint32(40, 2 * samples.length, true);
  samples.forEach((sample, i) => {
    const level = Math.max(-1, Math.min(1, sample));
    view.setInt16(HEADER_BYTES + 2 * i, Math.round(level * 32767), true);
  });
  return view.buffer;
}

/** Seconds of recording at a rate that fit into a WAV file of so many bytes. */
export function wavSeconds(bytes, sampleRate) {
  return (bytes - HEADER_BYTES) / (2 * sampleRate);
}

/**
 * Decode a file with the browser's decoders, which may know fewer formats than the service.
 * @param {Blob} file
 * @returns {Promise<Sound>} its first channel
 */
export async function decode(file) {
  const context = new OfflineAudioContext(1, 1, PREVIEW_RATE);
  const buffer = await context.decodeAudioData(await file.arrayBuffer());
  return { samples: buffer.getChannelData(0), sampleRate: buffer.sampleRate };
}
