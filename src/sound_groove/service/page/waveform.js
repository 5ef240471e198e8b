/** A picture of a sound: its lowest and highest sample in each column of a canvas. */

const dark = matchMedia("(prefers-color-scheme: dark)");

export class Waveform {
  /** @param {HTMLCanvasElement} canvas as large as the style sheet makes it, in its colour */
  constructor(canvas) {
    this.canvas = canvas;
    /** @type {Float32Array} */
    this.samples = new Float32Array(0);
    new ResizeObserver(() => this.draw()).observe(canvas);
    dark.addEventListener("change", () => this.draw());
  }

  /** @param {Float32Array} samples full scale at 1 */
  show(samples) {
    this.samples = samples;
    this.draw();
  }

  draw() {
    const { canvas, samples } = this;
    const ratio = window.devicePixelRatio;
    const [width, height] = [Math.round(canvas.clientWidth * ratio), Math.round(canvas.clientHeight * ratio)];
    if (width === 0 || height === 0) return; // it is not shown
    Object.assign(canvas, { width, height }); // which clears it as well
    const pen = canvas.getContext("2d");
    pen.fillStyle = getComputedStyle(canvas).color;
    const middle = height / 2;
    columns(samples, width).forEach(([low, high], x) => {
      const top = middle - Math.min(1, high) * middle;
      const bottom = middle - Math.max(-1, low) * middle;
      pen.fillRect(x, top, 1, Math.max(ratio, bottom - top)); // silence is a line
    });
  }
}

/**
 * The lowest and the highest sample of each of `count` equal parts.
 * @param {Float32Array} samples
 * @returns {[number, number][]}
 */
export function columns(samples, count) {
  return Array.from({ length: count }, (_, i) => {
    const end = Math.floor(((i + 1) * samples.length) / count);
    let [low, high] = [0, 0];
    for (let place = Math.floor((i * samples.length) / count); place < end; place += 1) {
      if (samples[place] < low) low = samples[place];
      else if (samples[place] > high) high = samples[place];
    }
    return [low, high];
  });
}
