/** What this package throws on purpose. */

/** Base of every error thrown on purpose. */
export class SoundGrooveError extends Error {
  /** @param {string} message one sentence: what is wrong, and what to do */
  constructor(message) {
    super(message);
    this.name = new.target.name;
  }
}

/** A recording cannot be used. */
export class AudioError extends SoundGrooveError {
  /**
   * @param {string} called the recording, as a sentence names it
   * @param {string} reason one clause in lower case, such as "is digital silence"
   * @param {string} code a stable word for machines: "not_audio", "foreign_format", "damaged", "empty", "too_short",
   *     "too_long", "silent", or "unusable" for all else
   * @param {Object<string, number>} values what the reason measures; in seconds where the name says so
   */
  constructor(called, reason, code = "unusable", values = {}) {
    super(`${called}: ${reason}`);
    this.called = called;
    this.reason = reason;
    this.code = code;
    this.values = values;
  }
}

/** A model file is missing, damaged, of another kind, or computes wrongly here. */
export class ModelError extends SoundGrooveError {}

/** An argument is of another kind or out of its range. */
export class UsageError extends SoundGrooveError {}

/** A voiceprint was made by another model than the one at hand. */
export class OtherModelError extends SoundGrooveError {}
