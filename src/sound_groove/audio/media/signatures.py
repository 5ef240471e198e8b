"""Formats that need FFmpeg's decoders (`media`), told from the first bytes of a file; its name does not count."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MediaFormat:
    """A format that FFmpeg reads.

    Attributes:
        demuxer: FFmpeg's name of it.
        name: what people call it.
    """

    demuxer: str
    name: str


HEAD_BYTES = 1024  # that `recognise_media` wants to see

# Where its first bytes tell a format, and how.
_MAGIC = (
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", MediaFormat("asf", "WMA or another Windows Media file")),
    (0, b"#!AMR", MediaFormat("amr", "AMR")),
    (0, b"FLV\x01", MediaFormat("flv", "Flash video")),
    (8, b"AVI ", MediaFormat("avi", "AVI video")),
    (0, b"ADIF", MediaFormat("aac", "AAC")),
    (0, b"\x0b\x77", MediaFormat("ac3", "AC-3")),
    (0, b"\x7f\xfe\x80\x01", MediaFormat("dts", "DTS")),
    (0, b"\x00\x00\x01\xba", MediaFormat("mpeg", "MPEG video")),
    (0, b".RMF", MediaFormat("rm", "RealAudio")),
    (0, b".ra\xfd", MediaFormat("rm", "RealAudio")),
    (0, b"MAC ", MediaFormat("ape", "Monkey's Audio")),
    (0, b"wvpk", MediaFormat("wv", "WavPack")),
    (0, b"TTA1", MediaFormat("tta", "TTA")),
    (0, b"tBaK", MediaFormat("tak", "TAK")),
    (0, b"MPCK", MediaFormat("mpc8", "Musepack")),
    (0, b"MP+", MediaFormat("mpc", "Musepack")),
    (0, b"DSD ", MediaFormat("dsf", "DSF")),
    (0, b"FRM8", MediaFormat("iff", "DSDIFF")),
    (0, b"ajkg", MediaFormat("shn", "Shorten")),
    (0, b"qoaf", MediaFormat("qoa", "QOA")),
    (0, b"#!iLBC", MediaFormat("ilbc", "iLBC")),
    (8, b"QLCM", MediaFormat("qcp", "QCP")),
    (0, b"\x02dss", MediaFormat("dss", "DSS")),
    (0, b"\x03dss", MediaFormat("dss", "DSS")),
)
_BOXES = (b"ftyp", b"moov", b"moof", b"mdat", b"styp", b"sidx", b"wide", b"free", b"skip", b"pnot")
_BRANDS = {b"M4A": "M4A", b"M4B": "M4B", b"M4P": "M4P", b"qt ": "MOV", b"3gp": "3GP", b"3g2": "3GP"}
GSM_FRAME = 33  # bytes, the first of which begins with 0xD
TRANSPORT_PACKET = 188  # bytes, the first of which is 0x47
OGG_CODINGS = ((b"Speex   ", "Speex"),)

# What libsndfile knows the frame of and not every coding within it.
WRAPPERS = {
    "wav": MediaFormat("wav", "a wav"),
    "w64": MediaFormat("w64", "a w64"),
    "aiff": MediaFormat("aiff", "an aiff"),
    "caf": MediaFormat("caf", "a caf"),
    "au": MediaFormat("au", "an au"),
}


def recognise_media(head: bytes) -> MediaFormat | None:
    """The format that the first bytes of a file announce, where FFmpeg is needed for it.

    >>> recognise_media(bytes(4) + b"ftypM4A ").name, recognise_media(b"RIFF....WAVEfmt ")
    ('M4A', None)
    """
    if head[4:8] in _BOXES:
        brand = head[8:11] if head[4:8] == b"ftyp" else b""
        return MediaFormat("mov", _BRANDS.get(brand, "MP4"))
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return MediaFormat("matroska", "WebM" if b"webm" in head[:64] else "Matroska")
    for offset, magic, form in _MAGIC:
        if head[offset:].startswith(magic) and (offset == 0 or head[:4] == b"RIFF"):
            return _later_ac3(head) if form.demuxer == "ac3" else form
    if head.startswith(b"OggS"):
        first = head[28 : 28 + 80]  # the first page holds one packet
        return next((MediaFormat("ogg", name) for magic, name in OGG_CODINGS if first.startswith(magic)), None)
    if len(head) > 6 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0 and head[2] >> 2 & 15 < 13:
        return MediaFormat("aac", "AAC")
    if len(head) > 3 and head[0] == 0x56 and head[1] & 0xE0 == 0xE0:
        return MediaFormat("loas", "AAC")
    if len(head) > 3 * TRANSPORT_PACKET and all(head[at] == 0x47 for at in range(0, len(head), TRANSPORT_PACKET)):
        return MediaFormat("mpegts", "MPEG transport stream")
    if len(head) > 8 * GSM_FRAME and all(head[at] >> 4 == 0xD for at in range(0, len(head), GSM_FRAME)):
        return MediaFormat("gsm", "GSM")
    return None


def _later_ac3(head: bytes) -> MediaFormat:
    """AC-3, or E-AC-3, whose bit stream has a higher number."""
    return MediaFormat("eac3" if len(head) > 5 and head[5] >> 3 > 10 else "ac3", "AC-3")


# Files that name other files and addresses. Nothing that they name is ever opened.
PLAYLISTS = (b"#EXTM3U", b"[playlist]", b"ffconcat version", b"<MPD", b"<asx", b"<ASX", b"[Reference]")
