/** The part of the recorder that runs on the audio thread: it collects blocks of samples and passes them on. */

const BLOCK = 4096; // samples; twelve messages a second at 48 kHz

class Collector extends AudioWorkletProcessor {
  constructor() {
    super();
    this.block = new Float32Array(BLOCK);
    this.filled = 0;
    this.ended = false;
    this.port.onmessage = () => {
      this.ended = true;
      this.port.postMessage({ samples: this.block.slice(0, this.filled), last: true });
    };
  }

  /** @param {Float32Array[][]} inputs one input of one channel; no channel while nothing is connected */
  process([[channel] = []]) {
    if (this.ended) return false;
    let taken = 0;
    while (channel && taken < channel.length) {
      const part = channel.subarray(taken, taken + BLOCK - this.filled);
      this.block.set(part, this.filled);
      this.filled += part.length;
      taken += part.length;
      if (this.filled === BLOCK) {
        this.port.postMessage({ samples: this.block, last: false }, [this.block.buffer]);
        this.block = new Float32Array(BLOCK);
        this.filled = 0;
      }
    }
    return true;
  }
}

registerProcessor("collector", Collector);
