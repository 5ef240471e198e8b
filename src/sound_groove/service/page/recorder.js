/** The microphone: what it hears, as samples, until it is stopped. */

import { Problem } from "./problems.js";

// A voice as it is: what browsers do for calls (echo, noise, level) takes away what tells voices apart.
const AS_IT_IS = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false };

const REFUSALS = {
  NotAllowedError: "microphone_denied",
  SecurityError: "microphone_denied",
  NotFoundError: "microphone_missing",
  OverconstrainedError: "microphone_missing",
  NotReadableError: "microphone_busy",
  AbortError: "microphone_busy",
};

/**
 * @typedef {object} Recorder
 * @property {() => void} stop end the recording
 * @property {Promise<import("./wav.js").Sound>} finished what was recorded, once it has ended
 */

/**
 * Begin to record.
 * @param {(level: number, seconds: number) => void} progress called about twelve times a second: the loudest sample
 *     since the last time, in [0, 1], and how long the recording is
 * @param {(sampleRate: number) => number} longest seconds after which the recording ends by itself
 * @returns {Promise<Recorder>}
 * @throws {Problem} there is no microphone, or the page may not use it
 */
export async function startRecorder(progress, longest) {
  const stream = await openMicrophone();
  const context = new AudioContext();
  try {
    await context.audioWorklet.addModule(new URL("recorder-worklet.js", import.meta.url));
    await context.resume();
  } catch (error) {
    console.debug(error); // the sentence cannot say why
    close(stream, context);
    throw new Problem("microphone_failed");
  }
  const collector = new AudioWorkletNode(context, "collector", { channelCount: 1, channelCountMode: "explicit" });
  const limit = longest(context.sampleRate);
  const blocks = [];
  let length = 0;
  const stop = () => collector.port.postMessage("stop");
  const finished = new Promise((resolve) => {
    collector.port.onmessage = ({ data: { samples, last } }) => {
      blocks.push(samples);
      length += samples.length;
      const seconds = length / context.sampleRate;
      progress(peak(samples), seconds);
      if (last) {
        const sampleRate = context.sampleRate;
        close(stream, context);
        resolve({ samples: join(blocks, length), sampleRate });
      } else if (seconds >= limit) stop();
    };
  });
  stream.getAudioTracks()[0].addEventListener("ended", stop); // it was unplugged, or the permission taken back
  // What is connected to the loudspeaker is kept running; the collector itself puts out silence.
  context.createMediaStreamSource(stream).connect(collector).connect(context.destination);
  return { stop, finished };
}

async function openMicrophone() {
  if (!window.isSecureContext || !navigator.mediaDevices) throw new Problem("microphone_insecure");
  try {
    return await navigator.mediaDevices.getUserMedia({ audio: AS_IT_IS });
  } catch (error) {
    throw new Problem(REFUSALS[error.name] ?? "microphone_failed");
  }
}

function close(stream, context) {
  for (const track of stream.getTracks()) track.stop();
  context.close();
}

/** @param {Float32Array} samples */
function peak(samples) {
  return samples.reduce((highest, sample) => Math.max(highest, Math.abs(sample)), 0);
}

/** @param {Float32Array[]} blocks */
function join(blocks, length) {
  const whole = new Float32Array(length);
  let place = 0;
  for (const block of blocks) {
    whole.set(block, place);
    place += block.length;
  }
  return whole;
}
