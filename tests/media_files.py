"""Recordings in the formats of browsers, phones and Apple, written by FFmpeg's own encoders."""

import io
from fractions import Fraction

import av
import numpy as np
from av.audio.stream import AudioStream
from numpy.typing import NDArray

TYPES = {"s16": np.int16, "s16p": np.int16, "s32": np.int32, "s32p": np.int32, "fltp": np.float32, "flt": np.float32}
LAYOUTS = {1: "mono", 2: "stereo"}

# Name -> FFmpeg's muxer, coding, sample format and rate; lossless ones give back the source to the bit.
LOSSLESS = {
    "alac.m4a": ("ipod", "alac", "s16p", 44100),
    "alac24.m4a": ("ipod", "alac", "s32p", 44100),
    "flac.mp4": ("mp4", "flac", "s16", 44100),
    "flac.oga": ("ogg", "flac", "s16", 44100),
    "flac.mka": ("matroska", "flac", "s16", 16000),
    "pcm.mov": ("mov", "pcm_s16le", "s16", 44100),
    "pcm24.mov": ("mov", "pcm_s24le", "s32", 48000),
    "float.mov": ("mov", "pcm_f32le", "flt", 48000),
    "pcm.caf": ("caf", "pcm_s16le", "s16", 44100),
    "alac.caf": ("caf", "alac", "s16p", 44100),
    "pcm.avi": ("avi", "pcm_s16le", "s16", 16000),
    "pcm.mkv": ("matroska", "pcm_s16le", "s16", 8000),
    "pcm.wma": ("asf", "pcm_s16le", "s16", 16000),
    "a.wv": ("wv", "wavpack", "s16p", 44100),
    "a.tta": ("tta", "tta", "s16", 44100),
}
LOSSY = {
    "aac.m4a": ("ipod", "aac", "fltp", 44100),
    "aac16.m4a": ("ipod", "aac", "fltp", 16000),
    "aac.m4b": ("ipod", "aac", "fltp", 44100),
    "aac.mp4": ("mp4", "aac", "fltp", 48000),
    "aac.mov": ("mov", "aac", "fltp", 44100),
    "aac.3gp": ("3gp", "aac", "fltp", 16000),
    "amr.3gp": ("3gp", "libopencore_amrnb", "s16", 8000),
    "aac.mkv": ("matroska", "aac", "fltp", 44100),
    "aac.aac": ("adts", "aac", "fltp", 44100),
    "aac.ts": ("mpegts", "aac", "fltp", 44100),
    "aac.flv": ("flv", "aac", "fltp", 44100),
    "opus.webm": ("webm", "libopus", "flt", 48000),
    "opus.mka": ("matroska", "libopus", "flt", 48000),
    "opus.mp4": ("mp4", "libopus", "flt", 48000),
    "mp3.mp4": ("mp4", "libmp3lame", "fltp", 44100),
    "mp3.avi": ("avi", "libmp3lame", "fltp", 44100),
    "amr.amr": ("amr", "libopencore_amrnb", "s16", 8000),
    "a.ac3": ("ac3", "ac3", "fltp", 48000),
    "a.eac3": ("eac3", "eac3", "fltp", 48000),
    "v2.wma": ("asf", "wmav2", "fltp", 44100),
    "v1.wma": ("asf", "wmav1", "fltp", 44100),
    "g722.wav": ("wav", "g722", "s16", 16000),
    "aac.wav": ("wav", "aac", "fltp", 44100),
    "g726.wav": ("wav", "g726", "s16", 8000),
}


def encode_media(
    samples: NDArray[np.floating],
    muxer: str,
    coding: str,
    sample_format: str,
    rate: int,
    tracks: int = 1,
    video: bool = False,
    options: dict[str, str] | None = None,
) -> bytes:
    """The bytes of a file that holds samples (T,) or (T, C) in [-1, 1], once in each of its soundtracks."""
    file = io.BytesIO()
    with av.open(file, "w", format=muxer, options=options or {}) as container:
        picture = None
        if video:
            picture = container.add_stream("mpeg4", rate=25)
            picture.width = picture.height = 32
            picture.pix_fmt = "yuv420p"
        streams = []
        for _ in range(tracks):
            stream = container.add_stream(coding, rate=rate)
            assert isinstance(stream, AudioStream)
            stream.layout = LAYOUTS[1 if samples.ndim == 1 else samples.shape[1]]
            stream.format = sample_format
            stream.time_base = Fraction(1, rate)
            if coding != "libopencore_amrnb":
                stream.bit_rate = 96_000 if rate > 20_000 else 32_000
            else:
                stream.bit_rate = 12_200
            streams.append(stream)
        if picture is not None:
            for number in range(int(25 * len(samples) / rate)):
                frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), number % 256, np.uint8), format="rgb24")
                container.mux(picture.encode(frame))
            container.mux(picture.encode(None))
        for stream in streams:
            size = stream.codec_context.frame_size or 1024
            for start in range(0, len(samples), size):
                container.mux(stream.encode(_frame(samples[start : start + size], sample_format, rate, start)))
            container.mux(stream.encode(None))
    return file.getvalue()


def quantised(samples: NDArray[np.floating], sample_format: str) -> NDArray[np.generic]:
    """Samples as the encoder gets them."""
    kind = TYPES[sample_format]
    if kind is np.int16:
        return np.asarray(np.rint(samples * 32767), dtype=np.int16)
    if kind is np.int32:  # 24 bits, in the upper bytes
        return np.asarray(np.rint(samples * 8388607).astype(np.int32) * 256, dtype=np.int32)
    return samples.astype(np.float32)


def _frame(samples: NDArray[np.floating], sample_format: str, rate: int, start: int) -> av.AudioFrame:
    values = quantised(samples, sample_format)
    values = values[:, None] if values.ndim == 1 else values  # (T, C)
    rows = values.T if sample_format.endswith("p") else values.reshape(1, -1)
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(rows), sample_format, LAYOUTS[values.shape[1]])
    frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
    return frame
