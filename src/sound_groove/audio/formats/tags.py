"""Tags that music programs put before, behind and between recordings: where they end.

ID3 (versions 1 and 2), APE and Lyrics3. They hold names and pictures, never sound.
"""

from typing import BinaryIO

from sound_groove.audio.formats.spliced import read_at

# How they begin, but for "3DI", the end of an ID3v2 tag that is read from behind.
TAGS = (b"TAG", b"APETAGEX", b"LYRICSBEGIN", b"LYRICS200", b"ID3", b"3DI")
ID3V1_BYTES = {b"TAG+": 227, b"TAG": 128}
APE_BYTES = 32  # of a header, and of a footer
APE_IS_HEADER = 1 << 29
LYRICS_BYTES = 1 << 16  # at most
LYRICS_ENDS = (b"LYRICS200", b"LYRICSEND")
LYRICS_LENGTH = 6  # digits before the first of these


def skip_tags(file: BinaryIO, position: int, size: int) -> int:
    """The first byte behind all tags that start at a position; one that does not fit into the file is left alone."""
    while position < size:
        end = position + _tag_length(file, position, size)
        if end == position or end > size:
            break
        position = end
    return position


def without_tags(file: BinaryIO, start: int, size: int) -> int:
    """The byte after the last that belongs to no tag at the end of a file (ID3v1, APE)."""
    while True:
        length = ID3V1_BYTES[b"TAG"] if read_at(file, size - 128, 3) == b"TAG" else 0
        footer = read_at(file, size - APE_BYTES, APE_BYTES)
        if footer.startswith(b"APETAGEX"):
            has_header = int.from_bytes(footer[20:24], "little") >> 31
            length = int.from_bytes(footer[12:16], "little") + APE_BYTES * has_header
        if not 0 < length < size - start:
            return size
        size -= length


def skip_id3(file: BinaryIO, size: int) -> int:
    """First byte after the whole ID3v2 tags at the start of a file (music programs put them before mp3 and flac)."""
    position = 0
    while (length := _id3_length(read_at(file, position, 10))) and position + length < size:
        position += length
    return position


def _tag_length(file: BinaryIO, position: int, size: int) -> int:
    """Bytes of the tag that starts there; 0 where none does."""
    head = read_at(file, position, APE_BYTES)
    if length := _id3_length(head):
        return length
    for magic, length in ID3V1_BYTES.items():
        if head.startswith(magic):
            return length
    if head.startswith(b"APETAGEX") and len(head) == APE_BYTES:
        is_header = int.from_bytes(head[20:24], "little") & APE_IS_HEADER
        return APE_BYTES + (int.from_bytes(head[12:16], "little") if is_header else 0)
    if head.startswith(b"LYRICSBEGIN"):
        content = read_at(file, position, LYRICS_BYTES)
        ends = [at + len(magic) for magic in LYRICS_ENDS if (at := content.find(magic)) > 0]
        return min(ends, default=0)
    return _ape_without_header(file, position, size)


def _id3_length(head: bytes) -> int:
    """Bytes of the ID3v2 tag that begins so; 0 where none does."""
    if len(head) < 10 or head[:3] != b"ID3" or max(head[6:10]) > 127:
        return 0
    length = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
    return 10 + length + (10 if head[5] & 0x10 else 0)


def _ape_without_header(file: BinaryIO, position: int, size: int) -> int:
    """Bytes of an APE tag of the first version, told by its footer at the end of the file (or before ID3v1)."""
    for end in (size, size - 128):
        footer = read_at(file, end - APE_BYTES, APE_BYTES) if end - APE_BYTES > position else b""
        if footer.startswith(b"APETAGEX") and end - int.from_bytes(footer[12:16], "little") == position:
            return end - position
    return 0
