"""Made-up voices: a small seeded source-filter synthesiser, for tests and the demo where no recordings are at hand.

A voice is a set of numbers (pitch, vocal-tract length, glottal source, timing, ...), drawn once from a seed. Speaking
strings random syllables together, moves the formants from target to target, and passes the result through a random
channel. Each utterance has words, melody and channel of its own, so that telling two voices apart is learnable but not
trivial:

    random syllables -> phones -> tracks, one value every 8 ms
    pitch track -> glottal flow (Rosenberg 1971) + breath \
    frication track -> noise in a band                     } -> formant filter, frame by frame -> channel -> samples

The formants follow the uniform-tube scaling of Fant (1960): a tract of L cm has the formants of the 17.5 cm tract times
17.5 / L. The filter is applied by overlap-add in the frequency domain, all frames at once: about 200 times faster than
real time on one core, in plain numpy.

These are figures of speech, not speech: a figure measured on them says that the code works, nothing about real voices.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.errors import CorpusError
from sound_groove.progress import ProgressBar
from sound_groove.synthesis.draws import log_uniform
from sound_groove.types import Samples

Track = NDArray[np.float64]  # (frames,) or (frames, formants): control values, one row every HOP samples

SHORTEST_S = 0.5  # after the breath before it and the closure of a stop, some sound is left in it
HOP = 128  # samples between two rows of a track: 8 ms
WINDOW = 256  # Hann windows of twice the hop add up to one
FFT_SIZE = 1024  # leaves 768 samples for the filter to ring: 63 dB of decay at the narrowest bandwidth below
NEUTRAL_TRACT_CM = 17.5
FORMANTS = 8  # up to 8 kHz in a neutral tract: resonances at 500, 1500, ..., 7500 Hz
FACTOR_SPREAD = (0.045,) * 3 + (0.03,) * 5  # of each formant among speakers; the upper ones would collide with more
NARROWEST_BANDWIDTH_HZ = 48.0

# F1, F2, F3 in Hz of men's vowels (Peterson & Barney 1952, table II).
VOWELS = (
    (270, 2290, 3010),
    (390, 1990, 2550),
    (530, 1840, 2480),
    (660, 1720, 2410),
    (730, 1090, 2440),
    (570, 840, 2410),
    (440, 1020, 2240),
    (300, 870, 2240),
    (640, 1190, 2390),
    (490, 1350, 1690),
)
SONORANTS = (  # F1, F2, F3 and the level of voicing: m, n, l, j, w
    (280, 1000, 2200, 0.35),
    (280, 1500, 2500, 0.35),
    (360, 1300, 2700, 0.55),
    (290, 2200, 2900, 0.6),
    (300, 700, 2200, 0.6),
)
FRICATIVES = (  # centre and width of the noise band in Hz, and its level: s, sh, f, x
    (6000, 1300, 0.8),
    (3400, 1000, 0.9),
    (5000, 4000, 0.25),
    (1800, 800, 0.5),
)


@dataclass(frozen=True, slots=True)
class Voice:
    """What makes one made-up speaker.

    Attributes:
        name: the speaker's label, also the folder's name in a written corpus.
        pitch_hz: geometric mean of the fundamental frequency.
        pitch_range_semitones: standard deviation of the syllables' pitch.
        tract_cm: vocal-tract length; 17.5 is neutral, shorter is higher.
        formant_factors: one factor for each formant on top of the length, about 1.
        bandwidth_factor: damping of the formants, about 1.
        articulation: how far vowels reach out from the neutral one; 1 is the textbook.
        open_quotient: share of a glottal period in which the glottis is open.
        closing_share: share of the open phase that the closing takes; short is bright and tense.
        tilt_hz: corner frequency of the low-pass filter that dulls the source.
        jitter: standard deviation of the relative period.
        shimmer: standard deviation of the relative amplitude of a period.
        breath: level of the breath noise relative to the glottal flow.
        sibilance: factor on the centre of fricative noise, about 1.
        syllable_s: mean duration of a syllable.
        pause_s: mean duration of a pause between phrases.
    """

    name: str
    pitch_hz: float
    pitch_range_semitones: float
    tract_cm: float
    formant_factors: tuple[float, ...]
    bandwidth_factor: float
    articulation: float
    open_quotient: float
    closing_share: float
    tilt_hz: float
    jitter: float
    shimmer: float
    breath: float
    sibilance: float
    syllable_s: float
    pause_s: float


@dataclass(frozen=True, slots=True)
class Phone:
    """One sound: how long it lasts and what the tract and the sources aim for while it does."""

    duration_s: float
    formants: tuple[float, float, float]  # F1, F2, F3 in Hz in the neutral tract
    voicing: float = 0.0
    frication: float = 0.0
    centre_hz: float = 4000.0
    width_hz: float = 2000.0
    pitch: float = 0.0  # semitones from the voice's mean


def made_up_speaker(seed: int, index: int) -> Voice:
    """The voice with this number among those that a seed gives.

    Args:
        seed: which population of voices, at least 0.
        index: which of its voices, at least 0; voices do not depend on how many are drawn.

    Returns:
        A voice called `voice<index>`.

    >>> made_up_speaker(0, 7) == made_up_speaker(0, 7)
    True
    """
    rng = np.random.default_rng([seed, index])
    # Two overlapping groups, as of women and men; within a group pitch and tract length hardly depend on each other.
    is_high = rng.random() < 0.5
    pitch_hz = float(np.exp(rng.normal(np.log(205.0 if is_high else 118.0), 0.16)))
    tract_cm = float(np.clip(rng.normal(14.9 if is_high else 17.1, 0.7), 12.5, 19.5))
    return Voice(
        name=f"voice{index:04d}",
        pitch_hz=float(np.clip(pitch_hz, 75.0, 320.0)),
        pitch_range_semitones=float(rng.uniform(1.0, 3.5)),
        tract_cm=tract_cm,
        formant_factors=tuple(float(f) for f in np.exp(rng.normal(0.0, FACTOR_SPREAD))),
        bandwidth_factor=float(np.exp(rng.normal(0.1, 0.2))),
        articulation=float(rng.uniform(0.75, 1.1)),
        open_quotient=float(rng.uniform(0.45, 0.85)),
        closing_share=float(rng.uniform(0.2, 0.45)),
        tilt_hz=log_uniform(rng, (700.0, 4000.0)),
        jitter=float(rng.uniform(0.003, 0.02)),
        shimmer=float(rng.uniform(0.02, 0.12)),
        breath=log_uniform(rng, (0.003, 0.06)),
        sibilance=float(np.exp(rng.normal(0.0, 0.08))),
        syllable_s=float(rng.uniform(0.15, 0.26)),
        pause_s=float(rng.uniform(0.15, 0.4)),
    )


def speak(voice: Voice, seed: int, duration_s: float) -> Samples:
    """One utterance of a voice: a pure function of its arguments.

    Args:
        voice: who speaks.
        seed: what is said, with which melody and through which channel, at least 0; two voices with the same seed say
            the same syllables, each at its own pace.
        duration_s: length in seconds, at least 0.5.

    Returns:
        (samples,) float32 at 16 kHz, peak at most 0.9.

    Raises:
        ValueError: the duration is too short.

    >>> len(speak(made_up_speaker(0, 0), seed=1, duration_s=0.5))
    8000
    """
    if duration_s < SHORTEST_S:
        raise ValueError(f"duration_s must be at least {SHORTEST_S}, not {duration_s}")
    count = round(duration_s * SAMPLE_RATE)
    words, sound, day, channel = (np.random.default_rng([seed, stream]) for stream in range(4))
    phones = _phones(voice, words, duration_s)
    frames = count // HOP + 2
    rows = _rows(phones, frames)
    excitation = _glottal_source(voice, phones, rows, count, sound)
    noise = sound.standard_normal(count) * _to_samples(_smooth(_column(phones, "frication")[rows], 5), count)
    dry = _filter(
        excitation,
        _formant_response(voice, phones, rows, day),
        noise,
        _frication_response(voice, phones, rows),
    )
    return _through_channel(dry, channel)


def write_corpus(
    folder: str | Path,
    speakers: int,
    utterances: int,
    seed: int,
    first: int = 0,
    duration_s: tuple[float, float] = (2.0, 4.0),
    workers: int | None = None,
) -> tuple[Path, ...]:
    """Write made-up recordings as `folder/<speaker>/<utterance>.wav`, 16 kHz, 16 bit, mono.

    Args:
        folder: where to; made if missing, and files of the same name are replaced.
        speakers: how many voices.
        utterances: how many recordings of each.
        seed: which population of voices, and what they say.
        first: index of the first voice, so that one seed gives disjoint sets of speakers.
        duration_s: shortest and longest utterance; each draws its own length between them.
        workers: threads that speak at once; one for each core when None. It changes nothing in the files.

    Returns:
        The files written, in order of speaker and utterance.

    Raises:
        CorpusError: a count is not positive.
    """
    if speakers < 1 or utterances < 1:
        raise CorpusError(f"a corpus needs at least one speaker and one utterance, not {speakers} and {utterances}")
    voices = [made_up_speaker(seed, first + number) for number in range(speakers)]
    jobs = [
        (Path(folder) / voice.name / f"{utterance:03d}.wav", voice, (seed, first + number, utterance), duration_s)
        for number, voice in enumerate(voices)
        for utterance in range(utterances)
    ]
    for voice in voices:
        (Path(folder) / voice.name).mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:  # numpy lets go of the interpreter lock in its loops
        spoken = pool.map(_write_utterance, jobs)
        return tuple(ProgressBar(spoken, "speaking", len(jobs), unit="utterance", leave=False, disable=None))


def _write_utterance(job: tuple[Path, Voice, tuple[int, int, int], tuple[float, float]]) -> Path:
    """Speak and write one utterance; its draws depend on its own numbers only."""
    import soundfile

    path, voice, key, (shortest_s, longest_s) = job
    rng = np.random.default_rng(key)
    duration_s = float(rng.uniform(shortest_s, longest_s))
    soundfile.write(path, speak(voice, int(rng.integers(2**62)), duration_s), SAMPLE_RATE, subtype="PCM_16")
    return path


# What is said: phones and their tracks


def _phones(voice: Voice, rng: np.random.Generator, duration_s: float) -> list[Phone]:
    """Random syllables in phrases, with pauses between, that fill a duration."""
    neutral = (500.0, 1500.0, 2500.0)
    mood = rng.normal(0.0, 0.7)  # semitones: the same speaker is a little higher one day and lower the next
    phones = [Phone(rng.uniform(0.03, 0.12), neutral)]
    total_s = phones[0].duration_s
    while total_s < duration_s:
        count = int(rng.integers(4, 10))
        phrase: list[Phone] = []
        for number in range(count):
            # Pitch falls in the course of a phrase (declination), on top of it each syllable has its accent.
            decline = 1.0 - 2.0 * number / max(1, count - 1)
            pitch = mood + voice.pitch_range_semitones * (0.6 * decline + 0.8 * rng.standard_normal())
            phrase += _syllable(voice, rng, pitch)
        phrase.append(Phone(voice.pause_s * rng.uniform(0.5, 1.5), neutral))
        total_s += sum(phone.duration_s for phone in phrase)
        phones += phrase
    return phones


def _syllable(voice: Voice, rng: np.random.Generator, pitch: float) -> list[Phone]:
    """One to four phones: an onset (sonorant, fricative, stop or none), a vowel, now and then a nasal at the end."""
    length_s = voice.syllable_s * float(np.exp(rng.normal(0.0, 0.2)))
    f1, f2, f3 = VOWELS[rng.integers(len(VOWELS))]
    reach = voice.articulation
    vowel = (500 + reach * (f1 - 500), 1500 + reach * (f2 - 1500), 2500 + reach * (f3 - 2500))
    phones: list[Phone] = []
    onset = rng.choice(["none", "sonorant", "fricative", "stop"], p=[0.1, 0.35, 0.3, 0.25])
    if onset == "sonorant":
        m1, m2, m3, level = SONORANTS[rng.integers(len(SONORANTS))]
        phones.append(Phone(0.35 * length_s, (m1, m2, m3), voicing=level, pitch=pitch))
    elif onset == "fricative":
        centre, width, level = FRICATIVES[rng.integers(len(FRICATIVES))]
        voicing = 0.25 if rng.random() < 0.4 else 0.0
        phones.append(Phone(0.4 * length_s, vowel, voicing, level, centre, width, pitch))
    elif onset == "stop":
        place_hz = float(rng.choice([900.0, 1800.0, 4000.0]))  # lips, back and tip of the tongue
        phones.append(Phone(0.3 * length_s, vowel, pitch=pitch))
        phones.append(Phone(0.03, vowel, 0.0, 1.0, place_hz, 1500.0, pitch))
    phones.append(Phone(0.6 * length_s, vowel, voicing=float(rng.uniform(0.8, 1.1)), pitch=pitch))
    if rng.random() < 0.25:
        m1, m2, m3, level = SONORANTS[rng.integers(2)]
        phones.append(Phone(0.3 * length_s, (m1, m2, m3), voicing=level, pitch=pitch))
    return phones


def _rows(phones: Sequence[Phone], frames: int) -> NDArray[np.intp]:
    """Which phone is under each frame: (frames,)."""
    ends_s = np.cumsum([phone.duration_s for phone in phones])
    at: NDArray[np.intp] = np.searchsorted(ends_s, np.arange(frames) * (HOP / SAMPLE_RATE), side="right")
    return np.minimum(at, len(phones) - 1, dtype=np.intp)


def _column(phones: Sequence[Phone], name: str) -> Track:
    """One attribute of all phones: (phones,) or (phones, 3)."""
    return np.asarray([getattr(phone, name) for phone in phones], dtype=np.float64)


def _smooth(track: Track, width: int) -> Track:
    """A track with its steps rounded by a Hann kernel of an odd number of frames: the tongue takes time to move."""
    kernel = np.hanning(width + 2)[1:-1]
    padded = np.pad(track, (width // 2, width // 2), mode="edge")
    return np.convolve(padded, kernel / kernel.sum(), mode="valid")


def _to_samples(track: Track, count: int) -> Track:
    """A track (frames,) at the rate of the samples: (count,)."""
    return np.interp(np.arange(count), np.arange(len(track)) * HOP, track)


# The sources


def _glottal_source(
    voice: Voice, phones: Sequence[Phone], rows: NDArray[np.intp], count: int, rng: np.random.Generator
) -> Track:
    """The flow through the glottis, differentiated by the lips, with breath in it: (count,)."""
    semitones = _smooth(_column(phones, "pitch")[rows], 15)
    level = _smooth(_column(phones, "voicing")[rows], 5)
    pitch_hz = voice.pitch_hz * 2.0 ** (_to_samples(semitones, count) / 12.0)
    # Jitter holds for one period at a time; the periods of the undisturbed pitch are the clock for it.
    clock = np.floor(np.cumsum(pitch_hz) / SAMPLE_RATE).astype(np.intp)
    pitch_hz *= 1.0 + voice.jitter * np.clip(rng.standard_normal(clock[-1] + 1), -3.0, 3.0)[clock]
    phase = np.cumsum(pitch_hz) / SAMPLE_RATE
    period = np.floor(phase).astype(np.intp)
    amplitude = 1.0 + voice.shimmer * np.clip(rng.standard_normal(period[-1] + 1), -3.0, 3.0)[period]
    flow = amplitude * _rosenberg_flow(phase - period, voice)
    # The difference of the continuous flow is its derivative averaged over a sample, which keeps aliases low. Scaled by
    # the period, so that the loudness of a voice does not depend on its pitch.
    derivative = np.diff(flow, prepend=flow[:1]) * (SAMPLE_RATE / pitch_hz)
    breath = voice.breath * rng.standard_normal(count) * (0.3 + flow) * 10.0
    excitation: Track = (derivative + breath) * _to_samples(level, count)
    return excitation


def _rosenberg_flow(phase: Track, voice: Voice) -> Track:
    """Rosenberg's (1971) pulse C: a raised cosine up, a quarter cosine down, closed for the rest; phase in [0, 1)."""
    closing = voice.open_quotient * voice.closing_share
    opening = voice.open_quotient - closing
    rise = 0.5 - 0.5 * np.cos(np.pi * np.minimum(phase / opening, 1.0))
    fall = np.cos(0.5 * np.pi * np.clip((phase - opening) / closing, 0.0, 1.0))
    flow: Track = rise * fall
    return flow


# The filters: one response for each frame, (frames, FFT_SIZE // 2 + 1)


def _formant_response(
    voice: Voice, phones: Sequence[Phone], rows: NDArray[np.intp], rng: np.random.Generator
) -> NDArray[np.complex64]:
    """The vocal tract with the source's tilt: a product of two-pole resonators, each of gain one at 0 Hz."""
    low = _column(phones, "formants")[rows]  # (frames, 3)
    high = np.broadcast_to(1000.0 * np.arange(3, FORMANTS) + 500.0, (len(rows), FORMANTS - 3))
    day = np.exp(rng.normal(0.0, 0.015, FORMANTS))  # nobody hits the same target twice
    factors = np.asarray(voice.formant_factors) * day * (NEUTRAL_TRACT_CM / voice.tract_cm)
    formants = np.concatenate([low, high], axis=1) * factors  # (frames, FORMANTS)
    formants = np.stack([_smooth(track, 9) for track in formants.T], axis=1)
    bandwidths = np.maximum(voice.bandwidth_factor * (40.0 + 0.07 * formants), NARROWEST_BANDWIDTH_HZ)
    # The polynomial of all poles by repeated multiplication; its transform is the filter's denominator.
    poles = np.zeros((len(rows), 2 * FORMANTS + 2))
    poles[:, 0] = 1.0
    for number in range(FORMANTS):
        radius = np.exp(-np.pi / SAMPLE_RATE * bandwidths[:, number])
        middle = -2.0 * radius * np.cos(2.0 * np.pi / SAMPLE_RATE * formants[:, number])
        # A short tract has its upper formants beyond what 16 kHz can hold: those are left out.
        inside = formants[:, number] < 0.48 * SAMPLE_RATE
        first, second = np.where(inside, middle, 0.0), np.where(inside, radius**2, 0.0)
        gain = 1.0 + first + second
        before = poles.copy()
        poles[:, 1:] += first[:, None] * before[:, :-1]
        poles[:, 2:] += second[:, None] * before[:, :-2]
        poles /= gain[:, None]
    tilt = np.exp(-2.0 * np.pi * voice.tilt_hz / SAMPLE_RATE)
    before = poles.copy()
    poles[:, 1:] -= tilt * before[:, :-1]
    poles /= 1.0 - tilt
    denominator = np.fft.rfft(poles.astype(np.float32), FFT_SIZE).astype(np.complex64, copy=False)
    return np.reciprocal(denominator)


def _frication_response(voice: Voice, phones: Sequence[Phone], rows: NDArray[np.intp]) -> NDArray[np.float32]:
    """A bump around the constriction's resonance, which scales with the tract as the formants do."""
    # Only the cavity in front of the tongue resonates, and it differs less between people than the whole tract.
    scale = voice.sibilance * (NEUTRAL_TRACT_CM / voice.tract_cm) ** 0.5
    centres = (scale * _column(phones, "centre_hz")).astype(np.float32)[:, None]
    widths = _column(phones, "width_hz").astype(np.float32)[:, None]
    bins = np.fft.rfftfreq(FFT_SIZE, 1.0 / SAMPLE_RATE).astype(np.float32)
    away = np.square((bins - centres) / widths)  # (phones, bins)
    bumps: NDArray[np.float32] = 1.0 / (1.0 + np.square(away))
    return bumps[rows]


def _filter(
    voiced: Track, voiced_response: NDArray[np.complex64], noise: Track, noise_response: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Both sources through their filters by overlap-add: (samples,)."""
    frames, count = len(voiced_response), len(voiced)
    window = np.hanning(WINDOW + 1)[:-1].astype(np.float32)

    def spectra(signal: Track) -> NDArray[np.complex64]:
        padded = np.zeros((frames + 1) * HOP, np.float32)  # frame t is centred on sample t * HOP
        padded[HOP : HOP + count] = signal[: len(padded) - HOP]
        cut = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]  # (frames, WINDOW)
        return np.fft.rfft(cut * window, FFT_SIZE).astype(np.complex64, copy=False)

    ringing = np.fft.irfft(spectra(voiced) * voiced_response + spectra(noise) * noise_response, FFT_SIZE)
    hops = ringing.reshape(frames, FFT_SIZE // HOP, HOP)
    out = np.zeros((frames + FFT_SIZE // HOP, HOP), np.float32)
    for part in range(FFT_SIZE // HOP):
        out[part : part + frames] += hops[:, part]
    return out.reshape(-1)[HOP : HOP + count]


# The channel


def _through_channel(dry: NDArray[np.float32], rng: np.random.Generator) -> Samples:
    """A microphone's tilt, a little room, background noise and a level, drawn for this utterance."""
    size = 1 << (len(dry) + SAMPLE_RATE // 4 - 1).bit_length()  # room for the echoes, and a fast length
    spectrum = np.fft.rfft(dry.astype(np.float32), size)
    octaves = np.log2(np.maximum(np.fft.rfftfreq(size, 1.0 / SAMPLE_RATE), 50.0) / 1000.0).astype(np.float32)
    spectrum *= 10.0 ** (np.float32(rng.uniform(-1.0, 1.0)) / 20.0 * octaves)  # decibels for each octave
    spectrum *= np.fft.rfft(_room(rng), size)
    wet = np.fft.irfft(spectrum, size)[: len(dry)]
    noise_db, colour = rng.uniform(-50.0, -30.0), rng.uniform(-6.0, -2.0)
    hiss = np.fft.rfft(rng.standard_normal(size, dtype=np.float32)) * 10.0 ** (np.float32(colour) / 20.0 * octaves)
    noise = np.fft.irfft(hiss, size)[: len(dry)]
    loudness = float(np.sqrt(np.mean(np.square(wet))))
    noise *= loudness * 10.0 ** (noise_db / 20.0) / float(np.sqrt(np.mean(np.square(noise))))
    mixed = wet + noise
    level = 10.0 ** (rng.uniform(-30.0, -20.0) / 20.0) / float(np.sqrt(np.mean(np.square(mixed))))
    peak = float(np.abs(mixed).max()) * level
    samples: Samples = (mixed * (level * min(1.0, 0.9 / peak))).astype(np.float32)
    return samples


def _room(rng: np.random.Generator) -> NDArray[np.float32]:
    """A direct path and a decaying tail of 0.25 s at most: (samples,)."""
    decay_s, wet = rng.uniform(0.08, 0.25), rng.uniform(0.0, 0.25)
    at_s = np.arange(round(decay_s * SAMPLE_RATE)) / SAMPLE_RATE
    tail = rng.standard_normal(len(at_s)) * 10.0 ** (-3.0 * at_s / decay_s)  # 60 dB in the decay time
    tail *= wet / np.sqrt(np.sum(np.square(tail)))
    tail[0] = 1.0
    response: NDArray[np.float32] = tail.astype(np.float32)
    return response
