"""Which decoder a file gets.

The one place where another decoder plugs in: from the bytes of a recording to a `Decoder`, after which nothing depends
on which it is. The content decides, never a name. libsndfile reads what it can; the rest is FFmpeg's, where the `media`
extra is installed.
"""

import io
import os
from pathlib import Path
from typing import cast

from sound_groove.audio_limits import check_length
from sound_groove.container import check_container, read_at, skip_id3
from sound_groove.decoders import UNKNOWN_FRAMES, Decoder, DecodingError, PartDecoder, SndfileDecoder
from sound_groove.errors import AudioError, MissingExtraError
from sound_groove.given import Content, Part
from sound_groove.media import EXTRA, MediaDecoder, has_media
from sound_groove.media_formats import HEAD_BYTES, PLAYLISTS, WRAPPERS, MediaFormat, recognise_media
from sound_groove.mpeg import clean_stream

OVERSHOOT_S = 0.5  # by which a part may reach beyond the end of its recording, as in Kaldi's extract-segments


def open_decoder(content: Content) -> Decoder:
    """What decodes a file, which is found whole as far as its structure tells.

    Raises:
        AudioError: nothing does.
        OSError: it could not be read.
    """
    try:
        decoder = _decoder_of(content)
        return decoder if content.part is None else _part_of(content.name, decoder, content.part)
    except DecodingError as error:
        raise AudioError(content.name, f"is damaged, or of an unusual kind: {error}; convert it again") from error


def _decoder_of(content: Content) -> Decoder:
    """The decoder of the whole recording."""
    file, name = content.file, content.name
    head = read_at(file, skip_id3(file, content.size), HEAD_BYTES)
    if head.lstrip(b"\xef\xbb\xbf \r\n").startswith(PLAYLISTS):
        raise AudioError(name, "is a playlist, which only names recordings; give those")
    form = recognise_media(head)
    if form is not None and form.demuxer != "ogg":
        return _media(content, form)
    container = check_container(cast(Path, name), file, content.size)  # the name serves for messages alone
    if form is not None:
        return _media(content, form)
    if container.mpeg is not None:
        check_length(name, container.mpeg.duration_s)
        return SndfileDecoder(clean_stream(file, container.mpeg))
    return _wrapped(content, container.kind)


def _wrapped(content: Content, kind: str) -> Decoder:
    """libsndfile's decoder; where it does not know what is inside a wav or the like, FFmpeg's."""
    file = content.file
    file.seek(0)
    try:
        if isinstance(file, io.BufferedReader) and isinstance(file.raw, io.FileIO):
            os.lseek(file.fileno(), 0, os.SEEK_SET)  # file.seek would only move within its buffer
            return SndfileDecoder(file.fileno())
        return SndfileDecoder(file)
    except DecodingError as error:
        form = WRAPPERS.get(kind)
        if form is None:
            raise
        if not has_media():
            hint = f"the '{EXTRA}' extra reads more kinds: pip install 'sound-groove[{EXTRA}]'"
            raise DecodingError(f"{error} ({hint})") from error
        try:
            found = MediaDecoder(file, content.size, form)
        except DecodingError:
            raise error from None
        if found.codec.startswith("pcm_"):  # libsndfile knows all of these: there is another reason
            found.close()
            raise
        return found


def _media(content: Content, form: MediaFormat) -> Decoder:
    """FFmpeg's decoder.

    Raises:
        AudioError: it is not installed, or can do nothing with the file.
    """
    if not has_media():
        missing = MissingExtraError("reading that", EXTRA)
        raise AudioError(content.name, f"is {form.name}, and {missing}, or convert it: ffmpeg -i INPUT OUTPUT.wav")
    try:
        return MediaDecoder(content.file, content.size, form)
    except DecodingError as error:
        raise AudioError(content.name, f"is {form.name} that cannot be read: {error}") from error


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
