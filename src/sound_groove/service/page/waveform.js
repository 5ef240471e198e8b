/** A sound as one sees it, hears it and goes through it: what is no speech is pale, what is left out is hatched. */

import { make } from "./elements.js";
import { sayLabel } from "./language.js";
import { release, seek, toggle } from "./player.js";

const STEP_S = 1; // of an arrow key
const HATCH = 7; // pixels from line to line
const dark = matchMedia("(prefers-color-scheme: dark)");

/** @typedef {[number, number][]} Spans from and to, in seconds */

export class Waveform {
  /** @param {import("./elements.js").Words} title of the clip */
  constructor(title) {
    this.title = title;
    /** @type {import("./wav.js").Sound} */
    this.sound = { samples: new Float32Array(0), sampleRate: 1 };
    /** @type {{speech: Spans, kept: Spans} | null} */
    this.spans = null;
    this.at = 0;
    this.canvas = make("canvas", { role: "slider", tabIndex: 0, "aria-valuemin": 0 });
    this.button = make("button", { type: "button", className: "play", onclick: () => toggle(this, this.url, this.next()) });
    this.time = make("span", { className: "time muted" });
    this.legend = make("span", { className: "legend muted" });
    this.node = make("div", { className: "waveform" }, this.canvas,
      make("div", { className: "row" }, this.button, this.time, this.legend));
    this.listen();
    new ResizeObserver(() => this.draw()).observe(this.canvas);
    dark.addEventListener("change", () => this.draw());
  }

  get length() {
    return this.sound.samples.length / this.sound.sampleRate;
  }

  listen() {
    const { canvas } = this;
    const point = ({ clientX }) => {
      const { left, width } = canvas.getBoundingClientRect();
      this.go(((clientX - left) / width) * this.length);
    };
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      point(event);
    });
    canvas.addEventListener("pointermove", (event) => event.buttons && point(event));
    canvas.addEventListener("keydown", (event) => {
      const places = { ArrowRight: this.at + STEP_S, ArrowLeft: this.at - STEP_S, Home: 0, End: this.length };
      if (event.key in places) this.go(places[event.key]);
      else if (event.key === " " || event.key === "Enter") this.button.click();
      else return;
      event.preventDefault();
    });
  }

  /**
   * @param {import("./wav.js").Sound} sound
   * @param {string} url under which the browser plays it
   */
  show(sound, url) {
    release(this);
    Object.assign(this, { sound, url, spans: null });
    this.legend.replaceChildren();
    this.canvas.setAttribute("aria-valuemax", this.length.toFixed(1));
    this.rename(this.title);
    this.moved(0, false);
  }

  /** @param {{speech: Spans, kept: Spans}} spans which of it is speech, and what is left out of the rest */
  shade(spans) {
    this.spans = spans;
    const part = (name) => [make("span", { className: `swatch ${name}` }), make("span", { words: { text: `part_${name}` } })];
    const silence = this.length - lengthOf(spans.speech) > 0.05;
    const dropped = this.length - lengthOf(spans.kept) > 0.05;
    this.legend.replaceChildren(...part("speech"), ...(silence ? part("silence") : []), ...(dropped ? part("dropped") : []));
    this.draw();
  }

  /** @param {import("./elements.js").Words} title */
  rename(title) {
    this.title = title;
    sayLabel(this.canvas, { text: "waveform", values: { clip: title, seconds: this.length.toFixed(1) } });
    this.sayButton();
  }

  sayButton() {
    sayLabel(this.button, { text: this.isPlaying ? "pause" : "play", values: { clip: this.title } });
    this.button.dataset.playing = String(Boolean(this.isPlaying));
  }

  clear() {
    release(this);
    this.spans = null;
  }

  /** Where to play from: the beginning once the end is reached. */
  next() {
    return this.at >= this.length - 0.05 ? 0 : this.at;
  }

  go(seconds) {
    const at = Math.max(0, Math.min(this.length, seconds));
    this.moved(at, this.isPlaying);
    seek(this, at);
  }

  /** The player is there, and plays or not. */
  moved(seconds, isPlaying) {
    this.at = Math.min(seconds, this.length);
    if (this.isPlaying !== isPlaying) {
      this.isPlaying = isPlaying;
      this.sayButton();
    }
    this.time.textContent = `${this.at.toFixed(1)} / ${this.length.toFixed(1)} s`;
    this.canvas.setAttribute("aria-valuenow", this.at.toFixed(1));
    this.canvas.setAttribute("aria-valuetext", this.time.textContent);
    this.draw();
  }

  draw() {
    const { canvas, sound: { samples } } = this;
    const ratio = window.devicePixelRatio;
    const [width, height] = [Math.round(canvas.clientWidth * ratio), Math.round(canvas.clientHeight * ratio)];
    if (width === 0 || height === 0 || samples.length === 0) return; // it is not shown
    if (this.drawn !== samples || canvas.width !== width) [this.drawn, this.columns] = [samples, columns(samples, width)];
    Object.assign(canvas, { width, height }); // which clears it as well
    const pen = canvas.getContext("2d");
    const style = getComputedStyle(canvas);
    const colour = (name) => style.getPropertyValue(`--${name}`);
    const place = (seconds) => Math.round((seconds / this.length) * width);
    const of = (spans) => spans?.map(([from, to]) => [place(from), place(to)]);
    const speech = of(this.spans?.speech);
    const kept = of(this.spans?.kept);
    const within = (spans, x) => !spans || spans.some(([from, to]) => x >= from && x < to);
    const middle = height / 2;
    pen.fillStyle = colour("quiet");
    if (kept) for (const [from, to] of gaps(kept, width)) hatch(pen, from, to, height, ratio);
    this.columns.forEach(([low, high], x) => {
      pen.fillStyle = colour(within(speech, x) ? "wave" : "quiet");
      const top = middle - Math.min(1, high) * middle;
      const bottom = middle - Math.max(-1, low) * middle;
      pen.fillRect(x, top, 1, Math.max(ratio, bottom - top)); // silence is a line
    });
    pen.fillStyle = colour("text");
    if (this.at > 0 || this.isPlaying) pen.fillRect(Math.min(place(this.at), width - 2 * ratio), 0, 2 * ratio, height);
  }
}

function lengthOf(spans) {
  return spans.reduce((sum, [from, to]) => sum + to - from, 0);
}

/** What lies between and around spans. */
function gaps(spans, end) {
  const edges = [0, ...spans.flat(), end];
  return Array.from({ length: edges.length / 2 }, (_, i) => [edges[2 * i], edges[2 * i + 1]]).filter(([from, to]) => to > from);
}

function hatch(pen, from, to, height, ratio) {
  pen.save();
  pen.beginPath();
  pen.rect(from, 0, to - from, height);
  pen.clip();
  pen.beginPath();
  for (let x = from - height; x < to; x += HATCH * ratio) {
    pen.moveTo(x, height);
    pen.lineTo(x + height, 0);
  }
  pen.strokeStyle = pen.fillStyle;
  pen.lineWidth = ratio;
  pen.stroke();
  pen.restore();
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
