// Made by javascript/generate.py from the modules of Python that these are named after. Change it there.

export const limits = {
  SAMPLE_RATE: 16000,
  MINIMUM_DURATION_S: 0.1,
  MAXIMUM_DURATION_S: 14400.0,
  MAXIMUM_CHANNELS: 64,
  SAMPLE_RATES: [4000, 768000],
};

export const sample_checks = {
  SILENCE_RANGE: 2e-06,
  CANCELLED_SHARE: 0.03162277660168379,
  MAXIMUM_LEVEL: 2147483648.0,
};

export const channels = {
  LIKENESS: 0.85,
  COHERENCE: 0.8,
  AUDIBLE_DB: -30.0,
  CANCELLED_SHARE: 0.05,
  RATE: 8000,
  BAND_HZ: [150.0, 3800.0],
  BANDS: 12,
  FRAME_S: 0.128,
  FRAME_STEP_S: 0.064,
  FLOOR_DB: -35.0,
  LOUD: 0.95,
  WINDOW_S: 1.0,
  LEAST_S: 0.5,
  STRETCH_S: 4.0,
  KEPT_VALUES: 2097152,
};

export const speech = {
  CHUNK: 512,
  CONTEXT: 64,
  STATE: 128,
  BLOCK: 313,
  WARM_UP: 63,
  SPEECH_PROBABILITY: 0.5,
  STAYING_PROBABILITY: 0.4,
  LEAST_RUN: 3,
  LEVEL: 0.2,
  AROUND: 31,
  LOUDER_SHARE: 0.2,
  DEPTH: 0.0031622776601683794,
  LOUDEST_SHARE: 0.05,
};

export const pauses = {
  AROUND_S: 0.5,
  FADE_S: 0.005,
  LEAST_S: 0.5,
};

export const filterbank = {
  FRAME_LENGTH: 400,
  FRAME_SHIFT: 160,
  FFT_SIZE: 512,
  PREEMPHASIS: 0.97,
  LOW_FREQUENCY: 20.0,
  SIXTEEN_BIT: 32768.0,
  LOG_FLOOR: 1.1920928955078125e-07,
  WINDOWS: ["povey", "hamming"],
  _FRAMES_AT_ONCE: 1000,
};

export const level = {
  BLOCK_FRAMES: 3000,
  LEAST_ENERGY: 9.5367431640625e-06,
};

export const digital_silence = {
  LEAST_RUN_S: 0.1,
  STILL: 1.52587890625e-05,
  STILL_BESIDE_PEAK: 1e-05,
  BLOCK: 1048576,
};

export const quality = {
  LITTLE_SPEECH_S: 2.0,
  LONG_SILENCE_S: 5.0,
  SILENT_SHARE: 0.7,
  CLIPPED_SHARE: 0.001,
  BLOCK: 1048576,
  LEAST_OFFSET: 0.1,
  FLAT_RUN: 3,
  FLAT_STEP: 0.003,
  FLAT_LEVEL: 0.95,
  NARROW_DROP_DB: -28.0,
  NOISE_QUANTILE: 0.1,
  LEAST_PAUSE_SHARE: 0.1,
  SNR_RANGE: [-5.0, 50.0],
  NARROW_SPEECH_S: 0.25,
};

export const sound_statistics = {
  LEAST_S: 0.5,
  FRAME: 512,
  LONG_FRAME: 1024,
  SHIFT: 256,
  BANDS: 32,
  CEPSTRA: 20,
  HEARD_DB: 25.0,
  FLOOR_DB: 90.0,
  LOUD: 0.95,
  PERIODS: [32, 266],
  PERIODIC: 0.5,
  FIRST_PEAK: 0.85,
  FLATNESS_BINS: [[3, 64], [64, 128], [128, 256]],
  AT_ONCE: 128,
  GROUPS: {"envelope": 20, "variation": 16, "periodicity": 11, "flatness": 6, "levels": 5, "depth": 8},
  COUNT: 66,
};

export const familiarity = {
  FARTHEST: 3.0,
  LENIENCY: 4.3,
  USUAL_S: 4.5,
  LONGEST_S: 20.0,
};

export const apart = {
  FRAME: 512,
  SHIFT: 320,
  BANDS: 40,
  CEPSTRA: 19,
  HEARD: 4.5,
  LOUD: 0.95,
  LEAST_FRAMES: 10,
  FLOOR: 1e-10,
};

export const listening = {
  MINIMUM_SPEECH_S: 0.5,
  NO_VERDICT: ["channels_differ", "too_little_speech"],
};

export const encoder = {
  MODEL_VARIABLE: "SOUND_GROOVE_MODEL",
  MINIMUM_FRAMES: 198,
  LONGEST_FRAMES: 6000,
  HELD_SECONDS: 600.0,
};

export const listener = {
  NORM_DIGITS: 4,
  READ_AHEAD: 4,
};

export const several_voices = {
  WINDOW: 32000,
  SHIFT: 16000,
  LEAST_S: 5.0,
  MOST_WINDOWS: 30,
  AROUND_S: 0.1,
  APART: 2.95,
  PAIR_LLR: -0.3,
  GROUPS_LLR: 1.3,
  GROUPS_FALL: 0.8,
  LEAST_WINDOWS: 3,
  STEP: 1600,
  LEAST_TOLD: 5,
  SHOWN: 3,
  BRIDGED: 16000,
  OF_SAMPLES: ["clipping", "digital_silence", "little_speech", "long_silence", "narrow_band", "several_voices", "too_little_speech"],
};

export const probe = {
  RULE: 1,
  PROBE_S: 2.0,
  LEAST_TRAINED_COSINE: 0.999,
  DIGITS: 6,
  _HARMONICS: 40,
  _SYLLABLES_HZ: 3.5,
  _FORMANTS: [[650.0, 250.0, 90.0, 1.0], [1500.0, 600.0, 130.0, 0.5], [2900.0, 400.0, 220.0, 0.25]],
  _MULTIPLIERS: ["11400714819323198485", "13787848793156543929"],
};

export const cosine = {
  DECIMALS: 6,
  CHUNK: 16384,
};

export const measures = {
  SHORTEST_S: 0.1,
  MAY_BE_UNKNOWN: ["closeness", "norm"],
  UNFAMILIARITY: "unfamiliarity",
};

export const calibration = {
  FADES_BEFORE: 2.0,
  FADE_RATE: 0.3,
  DIFFERENT_FADE_RATE: 0.9,
};

export const decision = {
  DEFAULT_COSTS: [1.0, 1.0, 0.2],
};

export const strength = {
  STEPS: [[2.0, "none"], [10.0, "weak"], [100.0, "moderate"], [1000.0, "moderately strong"], [10000.0, "strong"]],
  NOT_DETECTED: "recordings played back, cloned voices and synthetic ones are not detected",
};

export const comparison = {
  DEFAULT_PRIOR: 0.5,
  _LACKING: {"speech": "less speech", "snr": "more noise", "norm": "less to know a voice by", "closeness": "less likeness to other recordings"},
};
