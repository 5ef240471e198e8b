"""What makes a recording less trustworthy than it looks: little speech, clipping, a narrow band, long silence.

Speech is what `sound_groove.audio.speech` finds. All of a recording is judged, a block at a time, so that an hour takes
no more memory than a minute. Nothing is random: the same samples give the same answer.

The limits below were set on real recordings: telephone and wide-band speech coded with Opus at 19 kbit/s, and the same
clipped on purpose.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from sound_groove.audio.digital_silence import find_digital_silence
from sound_groove.audio.familiarity import unfamiliarity
from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.audio.pieces import Span
from sound_groove.audio.speech import CHUNK, ChunkLevels, Flags, Values, find_speech, runs, speech_spans, tables_of
from sound_groove.percentages import rate_text
from sound_groove.types import QualityWarning, Samples

LITTLE_SPEECH_S = 2.0
LONG_SILENCE_S = 5.0  # in a row
SILENT_SHARE = 0.7  # of the whole recording, where that is at least LITTLE_SPEECH_S
CLIPPED_SHARE = (
    0.001  # of samples; 120 unclipped recordings of speech have none, clipped by 6 dB they have 0.01 (median)
)
BLOCK = 1 << 20  # samples looked at for clipping at a time
LEAST_OFFSET = 0.1  # of half the range of the samples: less is no offset, and may lie in how a voice moves the air
FLAT_RUN = 3  # samples in a row
FLAT_STEP = 0.003  # of the peak: largest step within a flat top (a pure tone under 200 Hz is that flat, a voice is not)
FLAT_LEVEL = 0.95  # of the peak: where a flat top can be
NARROW_DROP_DB = -28.0  # of 4.5-7 kHz against 2.5-3.4 kHz over speech; see narrow_band_drop_db
NOISE_QUANTILE = 0.1  # of the powers of chunks: what lies below it is noise, not speech
LEAST_PAUSE_SHARE = 0.1  # of the speech: with less of pauses that are heard, they say nothing
SNR_RANGE = (-5.0, 50.0)  # dB; beyond it the estimate says nothing more
NARROW_SPEECH_S = 0.25  # less speech than this says nothing about the band


@dataclass(frozen=True, slots=True)
class Quality:
    """What `assess` finds.

    Attributes:
        speech_s: seconds of speech.
        snr_db: how far the speech lies above the noise; see `signal_to_noise_db`.
        warnings: what is wrong; empty for a good recording.
        speech: the stretches of speech, first sample and the one after the last.
        unfamiliarity: how unlike known speech it sounds; see `audio.familiarity`. None where there is too little.
    """

    speech_s: float
    snr_db: float
    warnings: tuple[QualityWarning, ...]
    speech: tuple[Span, ...] = ()
    unfamiliarity: float | None = None


def assess(samples: Samples, source_sample_rate: int) -> Quality:
    """Judge how far a recording can be trusted.

    Args:
        samples: (samples,) mono at 16 kHz, full scale at 1, as `load_audio` gives them.
        source_sample_rate: the file's own rate in Hz, which tells a telephone recording at once.

    Returns:
        The seconds of speech, and a warning for each of:
        little_speech: less than LITTLE_SPEECH_S of it;
        clipping: more than CLIPPED_SHARE of the samples lie in flat tops or beyond full scale;
        narrow_band: recorded below 16 kHz, or nothing above 4 kHz although there is speech below;
        long_silence: LONG_SILENCE_S in a row, or SILENT_SHARE of the whole, has no speech;
        digital_silence: some lies between its first sound and its last (`sound_groove.audio.digital_silence`).

    >>> assess(np.zeros(16000, np.float32), 16000).warnings[0].code
    'little_speech'
    """
    duration_s = len(samples) / SAMPLE_RATE
    chunks = ChunkLevels.of(samples)
    is_speech = find_speech(samples, chunks)  # (chunks,)
    share = float(is_speech.mean()) if len(is_speech) else 0.0
    speech_s = share * duration_s
    silence_s = _longest_run(~is_speech) * CHUNK / SAMPLE_RATE
    found = (
        _judge_speech(speech_s),
        _judge_clipping(clipped_share(samples, chunks)),
        _judge_band(source_sample_rate, narrow_band_drop_db(samples, is_speech)),
        _judge_silence(min(silence_s, duration_s), share, duration_s),
        find_digital_silence(samples),
    )
    snr_db = signal_to_noise_db(chunks.powers, is_speech)
    warnings = tuple(warning for warning in found if warning is not None)
    speech = tuple(speech_spans(is_speech, len(samples)))
    return Quality(speech_s, snr_db, warnings, speech, unfamiliarity(samples, speech))


def joint_quality(parts: Sequence[Quality], lengths: Sequence[int]) -> Quality:
    """The quality of a recording that was judged part by part.

    Args:
        parts: of each part, at least one.
        lengths: samples of each part.

    Returns:
        The seconds of speech in all parts; how far it lies above the noise, and how unfamiliar it sounds, the means
        over all speech; and of each kind of warning the first, with the minute at which the part begins that it speaks
        of.
    """
    speech_s = sum(part.speech_s for part in parts)
    snr_db = sum(part.speech_s * part.snr_db for part in parts) / speech_s if speech_s > 0 else SNR_RANGE[0]
    told = [(part.speech_s, part.unfamiliarity) for part in parts if part.unfamiliarity is not None]
    unlike = sum(share * value for share, value in told) / sum(share for share, _ in told) if told else None
    little = _judge_speech(speech_s)
    found: dict[str, QualityWarning] = {} if little is None else {little.code: little}
    speech: list[Span] = []
    for start, part in zip(accumulate(lengths, initial=0), parts, strict=False):
        speech += [(start + first, start + end) for first, end in part.speech]
        for warning in part.warnings:
            if warning.code != "little_speech":
                about = f"from {start // (60 * SAMPLE_RATE)} min on: {warning.message}"
                found.setdefault(warning.code, QualityWarning(warning.code, about))
    return Quality(speech_s, snr_db, tuple(found.values()), tuple(speech), unlike)


def _judge_speech(speech_s: float) -> QualityWarning | None:
    if speech_s >= LITTLE_SPEECH_S:
        return None
    amount = f"only {seconds_text(speech_s)} of speech" if speech_s > 0 else "no speech"
    return QualityWarning("little_speech", f"{amount} was found; a comparison wants {LITTLE_SPEECH_S:.0f} s or more")


def seconds_text(seconds: float) -> str:
    """Seconds of speech as a sentence gives them: rounded down, so that 1.996 s never reads as the 2 s that it lacks.

    >>> seconds_text(1.996), seconds_text(0.5)
    ('1.99 s', '0.50 s')
    """
    return f"{math.floor(100 * seconds) / 100:.2f} s"


def _judge_clipping(share: float) -> QualityWarning | None:
    if share <= CLIPPED_SHARE:
        return None
    return QualityWarning(
        "clipping", f"{rate_text(share, 1)} of the samples are clipped or beyond full scale; record at a lower level"
    )


def _judge_band(source_sample_rate: int, drop_db: float) -> QualityWarning | None:
    if source_sample_rate < SAMPLE_RATE:
        top = source_sample_rate / 2000
        return QualityWarning(
            "narrow_band",
            f"the recording has {source_sample_rate:,} Hz, so nothing above {top:g} kHz",
        )
    if drop_db >= NARROW_DROP_DB:
        return None
    return QualityWarning(
        "narrow_band",
        f"above 4 kHz the speech is {-drop_db:.0f} dB weaker than below, as in upsampled telephone speech",
    )


def _judge_silence(silence_s: float, speech_share: float, duration_s: float) -> QualityWarning | None:
    if silence_s >= LONG_SILENCE_S:
        return QualityWarning(
            "long_silence", f"{silence_s:.1f} s in a row have no speech; cut the recording to the speech"
        )
    if 1 - speech_share >= SILENT_SHARE and (1 - speech_share) * duration_s >= LITTLE_SPEECH_S:
        return QualityWarning(
            "long_silence",
            f"{rate_text(1 - speech_share, 0)} of its {duration_s:.1f} s have no speech; cut the recording to the "
            "speech",
        )
    return None


def clipped_share(samples: Samples, chunks: ChunkLevels | None = None) -> float:
    """Share of samples that are clipped: in flat tops close to the peak, or at or beyond full scale.

    Clipping that was followed by a change of gain leaves flat tops below full scale; clipping followed by resampling or
    coding leaves overshoots beyond it. Clipping, then resampling, then a lower gain leaves neither, and is not found.
    A constant offset is taken out first, or all would lie close to the peak.

    Args:
        samples: (samples,) mono at 16 kHz, full scale at 1.
        chunks: what `ChunkLevels.of` finds in these samples; measured here when None.

    >>> clipped_share(np.array([0.1, 0.5, 0.5, 0.5, 0.1, -0.2, 0.0, 0.1, 0.0, 0.1], np.float32))
    0.3
    """
    chunks = ChunkLevels.of(samples) if chunks is None else chunks
    offset, bottom, top = _offset_and_extremes(chunks)
    if bottom == top:
        return 0.0
    count = 0
    for start in range(0, len(samples), BLOCK):
        block = samples[start : start + BLOCK]
        if offset != 0.0:  # silence that was put in afterwards does not lie at the offset
            is_silent = chunks.is_silent[np.arange(start, start + len(block)) // CHUNK]
            block = np.where(is_silent, np.float32(0), block - np.float32(offset))
        count += _clipped_count(block, bottom, top)
    return count / len(samples)


def _offset_and_extremes(chunks: ChunkLevels) -> tuple[float, float, float]:
    """The constant that lies under a recording, 0 where it is small, and where flat tops would lie, less this constant.

    Without an offset, they lie as far below zero as above it.
    """
    heard = ~chunks.is_silent
    if not heard.any():
        return 0.0, 0.0, 0.0
    low, high = float(chunks.lows[heard].min()), float(chunks.highs[heard].max())
    offset = float(np.median(chunks.means[heard]))
    if abs(offset) < LEAST_OFFSET * (high - low) / 2:
        peak = max(high, -low)
        return 0.0, -peak, peak
    return offset, low - offset, high - offset


def _clipped_count(samples: Samples, bottom: float, top: float) -> int:
    """How many of these samples are clipped, in a recording whose flat tops would lie at these extremes."""
    near = (samples >= FLAT_LEVEL * top) | (samples <= FLAT_LEVEL * bottom)
    step = FLAT_STEP * max(top, -bottom)
    flat_pairs = near[1:] & near[:-1] & (np.abs(np.diff(samples)) <= step)
    begins, ends = runs(flat_pairs)
    ends = ends + 1  # samples are one more than their pairs
    is_long = ends - begins >= FLAT_RUN
    depth = np.zeros(len(samples) + 1, np.int32)
    depth[begins[is_long]] += 1
    depth[ends[is_long]] -= 1
    return int(np.count_nonzero((np.cumsum(depth[:-1]) > 0) | (np.abs(samples) >= 1.0)))


def narrow_band_drop_db(samples: Samples, is_speech: Flags) -> float:
    """Level of speech in 4.5 to 7 kHz against 2.5 to 3.4 kHz, in dB; 0 where there is too little speech to tell.

    The bands lie on either side of the edge of a telephone band. Comparing them with each other, and not with the
    whole, keeps dull wide-band recordings apart. Medians are -9 dB over 299 wide-band recordings and -43 dB over 119
    upsampled telephone recordings. With NARROW_DROP_DB, in another draw 148 of 150 telephone recordings are found, and
    3 of 250 wide-band ones fall under it too (with -29, -34 and -38 dB).

    Args:
        samples: (samples,) of the recording.
        is_speech: (chunks,) which of its chunks are speech.
    """
    if np.count_nonzero(is_speech) * CHUNK < NARROW_SPEECH_S * SAMPLE_RATE:
        return 0.0
    window = np.hanning(CHUNK).astype(np.float32)
    power = np.zeros(CHUNK // 2 + 1)  # (F,)
    at = 0
    for table in tables_of(samples):
        speech = table[is_speech[at : at + len(table)]]
        at += len(table)
        even = speech - speech.mean(axis=1, keepdims=True)  # without an offset
        power += np.sum(np.abs(np.fft.rfft(even * window[: table.shape[1]], CHUNK, axis=1)) ** 2, axis=0)
    width = SAMPLE_RATE / CHUNK  # Hz of a bin
    low = power[int(2500 / width) : int(3400 / width)].mean()
    high = power[int(4500 / width) : int(7000 / width)].mean()
    tiny = np.finfo(np.float32).tiny
    return float(10 * np.log10((high + tiny) / (low + tiny)))


def signal_to_noise_db(powers: Values, is_speech: Flags) -> float:
    """An estimate of how far speech lies above the noise, in dB, between SNR_RANGE.

    The noise is as loud as the quietest tenth of the chunks: what is heard in pauses and between words. Digital silence
    between words is what a gate left there, and so no noise; before and behind the speech it may be padding, and is not
    counted, unless there is hardly any pause but that. Where a recording leaves no pause, and where it rings, speech
    itself is taken for noise: the figure says how clearly the speech stands out, whatever the reason.

    Args:
        powers: (chunks,) of each chunk of the recording, as in `ChunkLevels`.
        is_speech: (chunks,) which of them are speech.
    """
    speech = powers[is_speech & (powers > 0)]
    if len(speech) == 0:
        return SNR_RANGE[0]
    spoken = np.flatnonzero(is_speech)
    within = np.zeros(len(powers), np.bool_)
    within[spoken[0] : spoken[-1] + 1] = True
    noise = float(np.quantile(powers[within | (powers > 0)], NOISE_QUANTILE))
    is_gated = (powers == 0).any() and (~is_speech & (powers > 0)).sum() < LEAST_PAUSE_SHARE * len(speech)
    if noise <= 0 or is_gated:
        return SNR_RANGE[1]
    ratio = (float(speech.mean()) - noise) / noise
    return float(np.clip(10 * np.log10(max(ratio, 1e-9)), *SNR_RANGE))


def _longest_run(flags: Flags) -> int:
    """Length of the longest run of True.

    >>> _longest_run(np.array([True, False, True, True]))
    2
    """
    begins, ends = runs(flags)
    return int((ends - begins).max(initial=0))
