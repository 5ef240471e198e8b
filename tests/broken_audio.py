"""Files that are no usable recording, made from a seed: for every part that must refuse them."""

import io
import struct
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

RATE = 16000

# Extension -> format and subtype as soundfile names them.
FORMATS = {
    "wav": ("WAV", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "opus": ("OGG", "OPUS"),
    "ogg": ("OGG", "VORBIS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "aiff": ("AIFF", "PCM_16"),
    "au": ("AU", "PCM_16"),
    "caf": ("CAF", "PCM_16"),
    "w64": ("W64", "PCM_16"),
    "rf64": ("RF64", "PCM_16"),
    "sph": ("NIST", "PCM_16"),
}


def encode(
    samples: NDArray[np.floating | np.integer], rate: int = RATE, kind: str = "wav", subtype: str | None = None
) -> bytes:
    """The bytes of an audio file that holds samples (T,) or (T, C)."""
    file_format, usual = FORMATS[kind]
    stream = io.BytesIO()
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    with soundfile.SoundFile(stream, "w", rate, channels, subtype or usual, format=file_format) as file:
        for start in range(0, len(samples), 8192):  # libsndfile's Vorbis encoder overruns its stack on large writes
            file.write(samples[start : start + 8192])
    return stream.getvalue()


def hum(seconds: float, seed: int = 0, rate: int = RATE) -> NDArray[np.float32]:
    """A sound that no codec finds trivial: a gliding tone in noise, (samples,)."""
    time = np.arange(int(seconds * rate)) / rate
    noise = np.random.default_rng(seed).standard_normal(len(time))
    return (0.3 * np.sin(2 * np.pi * (200 + 50 * time) * time) + 0.05 * noise).astype(np.float32)


def write_broken_files(folder: Path, seed: int = 0) -> list[Path]:
    """Write more than a hundred files that must be refused, each with its flaw in its name.

    Args:
        folder: where to; it is made if need be.
        seed: of all that is random in them.

    Returns:
        Their paths, sorted.
    """
    rng = np.random.default_rng(seed)
    whole = {kind: encode(hum(1.0, seed), kind=kind) for kind in FORMATS}
    files = {**_truncated(whole, rng), **_damaged(whole, rng), **_not_audio(rng), **_unusable(whole, seed)}
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return sorted(folder / name for name in files)


def _truncated(whole: dict[str, bytes], rng: np.random.Generator) -> dict[str, bytes]:
    """Every format, cut near its end, in its middle, in its header, and at random."""
    files = {}
    for kind, data in whole.items():
        # A w64 file ends with up to 7 bytes of padding, that it can lose.
        cuts = {
            len(data) - 9,
            len(data) * 9 // 10,
            len(data) // 2,
            len(data) // 10,
            60,
            20,
            5,
            *rng.integers(5, len(data) - 9, 4),
        }
        files.update({f"cut-at-{cut}.{kind}": data[: int(cut)] for cut in cuts})
    return files


def _damaged(whole: dict[str, bytes], rng: np.random.Generator) -> dict[str, bytes]:
    """Noise, zeros and gaps in the middle of formats that can tell (flac, ogg, mp3), and headers that make no sense."""
    files = {}
    for kind in ("flac", "opus", "ogg", "mp3"):
        data = whole[kind]
        for number in range(3):
            at = int(rng.integers(len(data) // 3, len(data) // 2))
            long = len(data) // 4
            files[f"noise-{number}.{kind}"] = data[:at] + rng.bytes(long) + data[at + long :]
            files[f"zeros-{number}.{kind}"] = data[:at] + bytes(long) + data[at + long :]
            files[f"gap-{number}.{kind}"] = data[:at] + data[at + long + 1 :]
    wav = whole["wav"]
    for name, at, value in (
        ("no-channels", 22, struct.pack("<H", 0)),
        ("many-channels", 22, struct.pack("<H", 5000)),
        ("rate-of-0", 24, struct.pack("<I", 0)),
        ("rate-of-1", 24, struct.pack("<I", 1)),
        ("rate-of-4-billion", 24, struct.pack("<I", 4_000_000_000)),
        ("unknown-coding", 20, struct.pack("<H", 0x4321)),
        ("no-bits", 34, struct.pack("<H", 0)),
    ):
        files[f"{name}.wav"] = wav[:at] + value + wav[at + len(value) :]
    flac = whole["flac"]
    # STREAMINFO: 36 bits of sample count from the low half of byte 21 on.
    files["claims-days.flac"] = flac[:21] + bytes([flac[21] | 0x0F]) + b"\xff" * 4 + flac[26:]
    files["claims-twice-as-much.flac"] = flac[:22] + struct.pack(">I", 2 * RATE) + flac[26:]
    return files


def _not_audio(rng: np.random.Generator) -> dict[str, bytes]:
    """Other things under the names of recordings."""
    picture = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + rng.bytes(3000)
    contents = {
        "empty": b"",
        "one-byte": b"R",
        "text": b"speaker one said this\n" * 200,
        "utf-16": "wav".encode("utf-16") * 100,
        "zero-bytes": bytes(5000),
        "one-bits": b"\xff" * 5000,
        "png": picture,
        "jpeg": b"\xff\xd8\xff\xe0\0\x10JFIF\0" + rng.bytes(3000),
        "zip": b"PK\x03\x04" + rng.bytes(3000),
        "html": b"<!DOCTYPE html><html><body>404 Not Found</body></html>",
        "m4a": b"\0\0\0\x20ftypM4A " + rng.bytes(3000),
        "webm": b"\x1a\x45\xdf\xa3" + rng.bytes(3000),
    }
    files = {f"{name}.{kind}": data for name, data in contents.items() for kind in ("wav", "flac", "opus", "mp3")}
    files.update({f"random-{number}.wav": b"\0" + rng.bytes(2000) for number in range(5)})
    files.update({f"random-{number}.raw": b"\0" + rng.bytes(2000) for number in range(3)})
    return files


def _unusable(whole: dict[str, bytes], seed: int) -> dict[str, bytes]:
    """Sound files without a usable recording in them."""
    sound = hum(1.0, seed)
    files = {}
    for kind in ("wav", "flac", "opus", "ogg", "mp3"):
        files[f"silence.{kind}"] = encode(np.zeros(RATE, np.float32), kind=kind)
        files[f"too-short.{kind}"] = encode(hum(0.05, seed), kind=kind)
    for kind in ("wav", "aiff", "au", "ogg"):
        files[f"no-samples.{kind}"] = encode(np.zeros(0, np.float32), kind=kind)
    for name, value in (("nan", np.nan), ("infinity", np.inf), ("minus-infinity", -np.inf), ("huge", 1e35)):
        spoiled = sound.copy()
        spoiled[len(spoiled) // 2] = value
        files[f"{name}.wav"] = encode(spoiled, subtype="FLOAT")
    files["constant.wav"] = encode(np.full(RATE, 0.25, np.float32))
    files["opposite-phase.wav"] = encode(np.stack([sound, -sound], axis=1))
    files["joined.opus"] = whole["opus"] + encode(sound, kind="opus")
    return files
