"""What lies between a voice and a recording of it: codecs, clipping, and music beside it.

Every function takes and gives samples (samples,) at 16 kHz, of the same length.
"""

import io
from dataclasses import dataclass

import numpy as np
import soundfile
import soxr

from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.types import Samples

_NARROW_BAND = 8000
_OPUS_BITS = (6_000, 256_000)  # what the compression levels 1 and 0 of libsndfile stand for, a second
_CHORDS = ((0, 4, 7), (0, 3, 7), (0, 5, 9), (0, 4, 7, 11), (0, 3, 7, 10), (0, 7, 12))  # in semitones


@dataclass(frozen=True)
class Codec:
    """A way to encode speech that libsndfile knows.

    Attributes:
        container: of libsndfile.
        subtype: of libsndfile.
        sample_rate: at which it is encoded.
        bits: least and most bits a second, where they can be chosen.
    """

    container: str
    subtype: str
    sample_rate: int = SAMPLE_RATE
    bits: tuple[int, int] | None = None


CODECS = {
    "opus": Codec("OGG", "OPUS", bits=(6_000, 24_000)),
    "mp3": Codec("MP3", "MPEG_LAYER_III"),
    "gsm": Codec("WAV", "GSM610", _NARROW_BAND),
    "mu-law": Codec("WAV", "ULAW", _NARROW_BAND),
    "a-law": Codec("WAV", "ALAW", _NARROW_BAND),
    "adpcm": Codec("WAV", "G721_32", _NARROW_BAND),
}


def encoded(samples: Samples, codec: Codec, strength: float) -> Samples:
    """Speech that was encoded and decoded again.

    Args:
        samples: (samples,) in [-1, 1].
        codec: how.
        strength: 0 = as good as the codec gives within its bits, 1 = as small.
    """
    at_rate = samples if codec.sample_rate == SAMPLE_RATE else soxr.resample(samples, SAMPLE_RATE, codec.sample_rate)
    level: float | None = None
    if codec.bits is not None:
        bits = codec.bits[1] + strength * (codec.bits[0] - codec.bits[1])
        level = (_OPUS_BITS[1] - bits) / (_OPUS_BITS[1] - _OPUS_BITS[0])
    elif codec.container == "MP3":
        level = 0.3 + 0.69 * strength
    file = io.BytesIO()
    soundfile.write(
        file, np.clip(at_rate, -1.0, 1.0), codec.sample_rate, codec.subtype, format=codec.container,
        compression_level=level,
    )  # fmt: skip
    file.seek(0)
    decoded, rate = soundfile.read(file, dtype="float32")
    back = decoded if rate == SAMPLE_RATE else soxr.resample(decoded, rate, SAMPLE_RATE)
    fitted = np.zeros(len(samples), dtype=np.float32)  # decoders leave a few samples out or add some
    count = min(len(back), len(samples))
    fitted[:count] = back[:count]
    return fitted


def encoded_somehow(samples: Samples, draw: np.random.Generator) -> Samples:
    """The same through any of the codecs, at any strength."""
    codec = list(CODECS.values())[int(draw.integers(len(CODECS)))]
    return encoded(samples, codec, draw.random())


def within_scale(samples: Samples) -> Samples:
    """Turned down where it is louder than full scale, which would count as clipped.

    >>> within_scale(np.array([0.5, -2.0], dtype=np.float32)).tolist()
    [0.25, -1.0]
    """
    return np.asarray(samples / max(float(np.abs(samples).max()), 1.0), dtype=np.float32)


def clipped(samples: Samples, share: float, is_soft: bool) -> Samples:
    """Overdriven by a share of its samples: cut off, or bent as an amplifier bends it.

    >>> clipped(np.array([0.125, -0.25, 0.5, 0.75], dtype=np.float32), 0.5, is_soft=False).tolist()
    [0.125, -0.25, 0.375, 0.375]
    """
    limit = float(np.quantile(np.abs(samples), 1.0 - share))
    if limit <= 0.0:
        return samples
    if is_soft:
        bent: Samples = (limit * np.tanh(samples / limit)).astype(np.float32)
        return bent
    return np.clip(samples, -limit, limit)


def made_up_music(samples: int, draw: np.random.Generator) -> Samples:
    """Chords of decaying, harmonic tones, in tempo, at a level of about 0.1 (samples,)."""
    beat = int(SAMPLE_RATE * draw.uniform(0.2, 0.8))
    root, brightness = draw.uniform(80.0, 320.0), draw.uniform(0.6, 2.0)
    decay_s, vibrato = draw.uniform(0.1, 1.5), draw.uniform(0.0, 0.004)
    out = np.zeros(samples + 2 * SAMPLE_RATE, dtype=np.float32)
    time_s = np.arange(2 * SAMPLE_RATE, dtype=np.float32) / SAMPLE_RATE
    envelope = np.minimum(time_s / 0.01, 1.0) * np.exp(-time_s / decay_s)
    for start in range(0, samples, beat):
        chord = _CHORDS[int(draw.integers(len(_CHORDS)))]
        shift = int(draw.choice([0, 2, 5, 7, 9]))
        for step in chord:
            pitch_hz = root * 2.0 ** ((step + shift) / 12.0)
            phase = 2.0 * np.pi * pitch_hz * (time_s + vibrato * np.sin(2.0 * np.pi * 5.0 * time_s) / 5.0)
            overtones = range(1, min(9, int(0.45 * SAMPLE_RATE / pitch_hz) + 1))
            tone = sum(np.sin(number * phase) / number**brightness for number in overtones)
            out[start : start + len(time_s)] += (envelope * tone).astype(np.float32)
        if draw.random() < 0.5:  # a drum
            burst = draw.standard_normal(1600).astype(np.float32) * np.exp(-np.arange(1600, dtype=np.float32) / 300.0)
            out[start : start + 1600] += burst
    music = out[:samples]
    level = float(np.sqrt(np.mean(np.square(music))))
    return music * np.float32(0.1 / max(level, 1e-6))
