/** One clip: recorded or chosen, seen, heard, taken away; and what the service says of it. */

import { ask } from "./client.js";
import { fresh, make } from "./elements.js";
import { say } from "./language.js";
import { checkSizes, limits } from "./limits.js";
import { asProblem, Problem } from "./problems.js";
import { startRecorder } from "./recorder.js";
import { refusalWords } from "./refusals.js";
import { sampleButton } from "./samples.js";
import { noteList, warningNote } from "./warnings.js";
import { Waveform } from "./waveform.js";
import { decode, encodeWav, wavSeconds } from "./wav.js";

const LONGEST_S = 120; // of a recording; a voice is known after ten seconds
const [QUIET, LOUD] = [0.05, 0.98]; // peaks of full scale: below and above them the level meter says so
const [CLEAN_DB, NOISY_DB] = [20, 10]; // speech above noise: from the first on there is little noise, below the second much

/** @type {Set<Clip>} those that say that there is no microphone, which is over once one records */
const unheard = new Set();

/** @type {Clip | null} the one that records: there is one microphone */
let recording = null;

export class Clip {
  /**
   * @param {import("./elements.js").Words} title
   * @param {{changed: () => void, removed?: (clip: Clip) => void, several?: (files: File[]) => void}} events
   *     `removed` lets the whole clip be taken away, `several` takes the files beyond the first
   */
  constructor(title, events) {
    this.title = title;
    this.events = events;
    /** @type {File | null} */
    this.file = null;
    this.recorder = null;
    /** @type {Promise<void> | null} fulfilled when the recording is in its place */
    this.recorded = null;
    this.build();
    this.show("empty");
  }

  build() {
    const id = `clip-${fresh()}`;
    const button = (text, action, className = "") =>
      make("button", { type: "button", words: { text }, className, "aria-describedby": id, onclick: action });
    this.heading = make("h3", { id, words: this.title });
    this.recordButton = button("record", () => { this.recorded = this.record(); }, "with-dot");
    this.chooser = make("input", { type: "file", hidden: true, accept: "audio/*,.flac,.opus,.amr,.wv,.aiff" });
    this.chooser.multiple = Boolean(this.events.several);
    this.chooser.addEventListener("change", () => this.take([...this.chooser.files]));
    this.chooseButton = button("choose", () => this.chooser.click());
    const sample = sampleButton(id, (file) => this.take([file]), (problem) => this.complain(problem.words));
    this.empty = make("div", { className: "clip-empty" },
      make("div", { className: "row" }, this.recordButton, this.chooseButton, this.chooser, sample),
      make("p", { className: "muted", words: { text: this.events.several ? "drop_several" : "drop_one" } }));

    this.meter = make("span", { className: "level" });
    this.levelWord = make("span", { className: "muted" });
    this.timer = make("span", { className: "time", role: "timer" });
    this.stopButton = button("stop", () => this.recorder.stop(), "primary");
    this.running = make("div", { className: "clip-running" },
      make("div", { className: "row" }, this.stopButton, this.timer, this.levelWord),
      make("div", { className: "level-track", "aria-hidden": "true" }, this.meter));

    this.waveform = new Waveform(this.title);
    this.noPreview = make("p", { className: "muted", words: { text: "no_preview" } });
    this.name = make("span", { className: "file-name" });
    this.removeButton = button("remove", () => this.clear());
    this.facts = make("p", { className: "muted" });
    this.ready = make("div", { className: "clip-ready" },
      make("div", { className: "row spread" }, this.name, this.removeButton),
      this.waveform.node, this.noPreview, this.facts);

    this.status = make("p", { className: "visually-hidden", role: "status" });
    this.notes = make("div", { role: "status" });
    this.node = make("section", { className: "clip", "aria-labelledby": id },
      this.heading, this.empty, this.running, this.ready, this.notes, this.status);
    this.node.addEventListener("dragover", () => this.node.classList.add("dropping"));
    this.node.addEventListener("dragleave", () => this.node.classList.remove("dropping"));
    this.node.addEventListener("drop", (event) => {
      this.node.classList.remove("dropping");
      event.preventDefault(); // it is taken, and is not to be taken once more
      this.take([...event.dataTransfer.files]);
    });
  }

  /** @param {"empty" | "running" | "ready"} state */
  show(state) {
    for (const name of ["empty", "running", "ready"]) this[name].hidden = name !== state;
  }

  /** Forget the clip; where the clip was added by hand it goes as a whole. */
  clear() {
    this.put(null);
    say(this.status, { text: "removed" });
    if (this.events.removed) this.events.removed(this);
    else this.focus();
  }

  /** @param {import("./elements.js").Words} title */
  rename(title) {
    this.title = title;
    say(this.heading, title);
    this.waveform.rename(title);
  }

  focus() {
    (this.file ? this.removeButton : this.recordButton).focus();
  }

  /** @param {File[]} files dropped or chosen */
  take([first, ...others]) {
    this.chooser.value = ""; // so that the same file can be chosen again
    if (!first || this.recorder) return;
    try {
      checkSizes([first]);
    } catch (error) {
      this.complain(asProblem(error).words);
      return;
    }
    this.put(first);
    if (others.length > 0) this.events.several?.(others);
  }

  async record() {
    if (this.recordButton.disabled) return;
    this.recordButton.disabled = true;
    this.setNotes([]);
    try {
      await recording?.end();
      recording = this;
      const { duration_s, upload_bytes } = limits();
      const longest = (sampleRate) => Math.min(LONGEST_S, duration_s, wavSeconds(upload_bytes, sampleRate));
      this.recorder = await startRecorder((level, seconds) => this.measure(level, seconds), longest);
      for (const clip of unheard) clip.setNotes([]);
      unheard.clear();
      this.measure(0, 0);
      this.show("running");
      this.stopButton.focus();
      say(this.status, { text: "recording" });
      const sound = await this.recorder.finished;
      const isLookedAt = this.node.contains(document.activeElement); // else it was ended from elsewhere
      this.put(new File([encodeWav(sound)], "recording.wav", { type: "audio/wav" }), sound);
      if (isLookedAt) this.focus();
    } catch (error) {
      this.show("empty");
      this.complain(asProblem(error).words);
      unheard.add(this);
    } finally {
      this.recorder = null;
      if (recording === this) recording = null;
      this.recordButton.disabled = false;
    }
  }

  /** End the recording, if there is one. */
  async end() {
    this.recorder?.stop();
    await this.recorded;
  }

  measure(level, seconds) {
    this.meter.style.transform = `scaleX(${level.toFixed(3)})`;
    this.timer.textContent = `${Math.floor(seconds / 60)}:${(seconds % 60).toFixed(1).padStart(4, "0")}`;
    say(this.levelWord, { text: level < QUIET ? "level_quiet" : level > LOUD ? "level_loud" : "level_good" });
  }

  /**
   * Have this file, or none.
   * @param {File | null} file
   * @param {import("./wav.js").Sound} [sound] what is in it, where that is known
   */
  async put(file, sound) {
    if (this.url) URL.revokeObjectURL(this.url);
    this.inspecting?.abort();
    this.url = null;
    this.file = file;
    this.isJudged = false;
    unheard.delete(this);
    this.setNotes([]);
    this.facts.textContent = "";
    delete this.facts.dataset.text;
    this.show(file ? "ready" : "empty");
    this.events.changed();
    if (!file) {
      this.waveform.clear();
      return;
    }
    this.url = URL.createObjectURL(file);
    this.picture(file.name, null);
    const seen = sound ?? (await decode(file).catch(() => null));
    if (this.file !== file) return; // it was removed meanwhile
    this.picture(file.name, seen);
    await this.inspect(file);
  }

  /** Show what is known of the file. */
  picture(name, sound) {
    const seconds = sound ? (sound.samples.length / sound.sampleRate).toFixed(1) : "";
    say(this.name, name === "recording.wav" ? { text: "own_recording" } : { text: "as_said", values: { message: name } });
    this.waveform.node.hidden = !sound;
    this.noPreview.hidden = Boolean(sound);
    if (!sound) return;
    this.waveform.show(sound, this.url);
    say(this.status, { text: "clip_there", values: { clip: this.title, seconds } });
  }

  /** Have the service look at the file at once: what is speech in it, and what is wrong with it. */
  async inspect(file) {
    const { signal } = (this.inspecting = new AbortController());
    const form = new FormData();
    form.append("audio", file);
    try {
      const { audio, warnings, speech_spans, kept_spans } = await ask("v1/inspect", { method: "POST", form, signal });
      this.waveform.shade({ speech: speech_spans, kept: kept_spans });
      if (this.isJudged) return;
      this.describe(audio);
      this.setNotes(warnings.map(warningNote));
    } catch (error) {
      if (signal.aborted || this.isJudged) return;
      this.complain(...asProblem(error).refusals.map(refusalWords)); // of all else the next question tells
    }
  }

  /**
   * What the service heard in it.
   * @param {{speech_s: number, snr_db: number, sample_rate: number}} facts
   */
  describe({ speech_s, snr_db, sample_rate }) {
    const noise = { text: snr_db >= CLEAN_DB ? "noise_little" : snr_db >= NOISY_DB ? "noise_some" : "noise_much" };
    const values = { speech: speech_s.toFixed(1), noise, rate: (sample_rate / 1000).toString() };
    say(this.facts, { text: "facts", values });
  }

  /** @param {{code: string, message: string}[]} warnings of the service */
  warn(warnings) {
    this.isJudged = true;
    this.setNotes(warnings.map(warningNote));
  }

  /** What the clip is called in a sentence: its title, and the file's name. */
  get called() {
    const { text, values = {} } = this.title;
    const file = this.file?.name === "recording.wav" ? { text: "own_recording" } : (this.file?.name ?? "");
    return { text: "clip_called", values: { clip: { text, values }, file } };
  }

  /** @param {...import("./elements.js").Words} reasons why the clip cannot be used */
  complain(...reasons) {
    this.setNotes(reasons.map((words) => ({ kind: "error", words })));
  }

  /** @param {import("./warnings.js").Note[]} notes */
  setNotes(notes) {
    this.notes.replaceChildren(...(notes.length > 0 ? [noteList(notes)] : []));
  }
}

/**
 * End what is being recorded.
 * @param {Clip[]} clips
 */
export async function endAll(clips) {
  for (const clip of clips) await clip.end();
}

/**
 * The files of clips that are to be sent together.
 * @param {Clip[]} clips
 * @returns {File[]}
 * @throws {Problem} one is missing (it gets the focus), or they are too large
 */
export function filesOf(clips) {
  const missing = clips.find((clip) => !clip.file);
  if (missing) {
    missing.focus();
    throw new Problem("clip_missing", { clip: missing.title });
  }
  const files = clips.map((clip) => clip.file);
  checkSizes(files);
  return files;
}
