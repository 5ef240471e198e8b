"""Which decoder a file gets.

The one place where another decoder plugs in: from the bytes of a recording to a `Decoder`, after which nothing depends
on which it is. The content decides, never a name. libsndfile reads what it can; the rest is FFmpeg's, where the `media`
extra is installed.
"""

import io
import math
import os
from functools import partial
from pathlib import Path
from typing import BinaryIO, cast

from sound_groove.audio.decoders import (
    UNKNOWN_FRAMES,
    Decoder,
    DecodingError,
    PartDecoder,
    SndfileDecoder,
    UnknownCodingError,
)
from sound_groove.audio.formats.container import Container, Stream, check_container
from sound_groove.audio.formats.joined import JoinedDecoder
from sound_groove.audio.formats.spliced import read_at
from sound_groove.audio.formats.tags import skip_id3
from sound_groove.audio.given import Content, Part
from sound_groove.audio.limits import MAXIMUM_DURATION_S, SAMPLE_RATE, check_length
from sound_groove.audio.media.ffmpeg import EXTRA, MediaDecoder, has_media
from sound_groove.audio.media.signatures import HEAD_BYTES, PLAYLISTS, WRAPPERS, MediaFormat, recognise_media
from sound_groove.errors import AudioError, ForeignFormatError, MissingExtraError, installing
from sound_groove.types import QualityWarning

HINT = f"the '{EXTRA}' extra reads more kinds: {installing(EXTRA)}"
OVERSHOOT_S = 0.5  # by which a part may reach beyond the end of its recording, as in Kaldi's extract-segments


def open_decoder(content: Content, needed_s: float = math.inf, longest_s: float = MAXIMUM_DURATION_S) -> Decoder:
    """What decodes a file, which is found whole as far as its structure tells.

    Args:
        content: the file.
        needed_s: how much of it will be read, from the beginning of what is wanted.
        longest_s: what lasts longer is refused.

    Raises:
        AudioError: nothing does, or it lasts longer.
        OSError: it could not be read.
    """
    try:
        decoder = _decoder_of(content, needed_s + (content.part.start_s if content.part else 0.0), longest_s)
        return decoder if content.part is None else _part_of(content.name, decoder, content.part)
    except DecodingError as error:
        raise AudioError(
            content.name, f"is damaged, or of an unusual kind: {error}; convert it again", code="damaged"
        ) from error


def _decoder_of(content: Content, needed_s: float, longest_s: float) -> Decoder:
    """The decoder of the whole recording."""
    file, name = content.file, content.name
    head = read_at(file, skip_id3(file, content.size), HEAD_BYTES)
    if head.lstrip(b"\xef\xbb\xbf \r\n").startswith(PLAYLISTS):
        raise AudioError(name, "is a playlist, which only names recordings; give those")
    form = recognise_media(head)
    if form is not None and form.demuxer != "ogg":
        return _media(content, form)
    try:
        # The name serves for messages alone.
        container = check_container(cast(Path, name), file, content.size, needed_s)
    except ForeignFormatError:
        if form is None:
            raise
        return _media(content, form)
    if container.duration_s:
        check_length(name, container.duration_s, max(longest_s, MAXIMUM_DURATION_S))
    if container.foreign:
        return _foreign(content, container, container.foreign)
    try:
        return _sndfile(content, container)
    except DecodingError as error:
        if container.kind not in WRAPPERS:
            raise
        return _instead(content, container, error)


def _sndfile(content: Content, container: Container) -> Decoder:
    """libsndfile's decoder of a file, or of what stands for it."""
    openers = [partial(_open_stream, stream, container.warnings) for stream in container.streams]
    if len(openers) > 1:
        return JoinedDecoder(openers, SAMPLE_RATE, container.warnings)
    if openers:
        return openers[0]()
    file = content.file
    file.seek(0)
    if isinstance(file, io.BufferedReader) and isinstance(file.raw, io.FileIO):
        os.lseek(file.fileno(), 0, os.SEEK_SET)  # file.seek would only move within its buffer
        return SndfileDecoder(file.fileno(), container.warnings)
    return SndfileDecoder(file, container.warnings)


def _open_stream(stream: Stream, warnings: tuple[QualityWarning, ...]) -> SndfileDecoder:
    return SndfileDecoder(cast(BinaryIO, stream()), warnings)


def _foreign(content: Content, container: Container, coding: str) -> Decoder:
    """FFmpeg's decoder for a coding that libsndfile does not know inside of a format that it knows.

    Raises:
        ForeignFormatError: it is not installed, or does not know it either.
    """
    form = WRAPPERS.get(container.kind)
    if form is None:
        raise ForeignFormatError(content.name, coding)
    convert = "convert it first: ffmpeg -i INPUT OUTPUT.wav"
    if not has_media():
        raise ForeignFormatError(content.name, coding, f"is {coding}, which cannot be read; {HINT}, or {convert}")
    try:
        return _wrapped(content, container, form)
    except DecodingError as error:
        reason = f"is {coding}, which cannot be read: {error}; {convert}"
        raise ForeignFormatError(content.name, coding, reason) from error


def _instead(content: Content, container: Container, error: DecodingError) -> Decoder:
    """FFmpeg's decoder of a wav or the like that libsndfile complains about.

    Raises:
        ForeignFormatError: the coding in it is not known.
        DecodingError: there is another reason.
    """
    if isinstance(error, UnknownCodingError):
        return _foreign(content, container, "sound of a coding that is not known")
    if not has_media():
        raise DecodingError(f"{error} ({HINT})") from error
    try:
        found = _wrapped(content, container, WRAPPERS[container.kind])
    except DecodingError:
        raise error from None
    if found.codec.startswith("pcm_"):  # libsndfile knows all of these: there is another reason
        found.close()
        raise error
    return found


def _wrapped(content: Content, container: Container, form: MediaFormat) -> MediaDecoder:
    """FFmpeg's decoder of a file of a kind that libsndfile knows, or of what stands for it."""
    if len(container.streams) != 1:
        return MediaDecoder(content.file, content.size, form, container.warnings)
    stream = container.streams[0]()
    return MediaDecoder(cast(BinaryIO, stream), stream.seek(0, io.SEEK_END), form, container.warnings)


def _media(content: Content, form: MediaFormat) -> Decoder:
    """FFmpeg's decoder.

    Raises:
        AudioError: it is not installed (ForeignFormatError), or can do nothing with the file.
    """
    if not has_media():
        missing = MissingExtraError("reading that", EXTRA)
        reason = f"is {form.name}, and {missing}, or convert it: ffmpeg -i INPUT OUTPUT.wav"
        raise ForeignFormatError(content.name, form.name, reason)
    try:
        return MediaDecoder(content.file, content.size, form)
    except DecodingError as error:
        raise AudioError(content.name, f"is {form.name} that cannot be read: {error}", code="damaged") from error


def _part_of(name: Path | None, decoder: Decoder, part: Part) -> Decoder:
    """A part of a recording.

    Raises:
        AudioError: the recording has no such part.
    """
    rate, total = decoder.sample_rate, decoder.frames
    start = round(part.start_s * rate)
    end = UNKNOWN_FRAMES if part.end_s is None else round(part.end_s * rate)
    if end <= start:
        raise AudioError(name, f"has no part from {part.start_s:g} to {part.end_s:g} s: it would end before it begins")
    if total != UNKNOWN_FRAMES and (start >= total or (end < UNKNOWN_FRAMES and end > total + OVERSHOOT_S * rate)):
        to = "its end" if part.end_s is None else f"{part.end_s:g} s"
        raise AudioError(name, f"has no part from {part.start_s:g} s to {to}: it lasts {total / rate:.2f} s")
    return PartDecoder(decoder, start, end - start, round(OVERSHOOT_S * rate))
