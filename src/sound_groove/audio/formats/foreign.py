"""Formats and codings that people do have and libsndfile cannot read, told by their first bytes so as to name them.

What FFmpeg reads as well is in `sound_groove.audio.media.signatures`.
"""

SOUND = (  # offset, first bytes there, name
    (0, b"#!EVRC", "EVRC"),
    (0, b"#!SILK", "SILK"),
    (1, b"#!SILK", "SILK"),
    (8, b"RMID", "MIDI, which is no recording"),
    (0, b"MThd", "MIDI, which is no recording"),
    (0, b"OFR ", "OptimFROG"),
    (0, b"\x03ds2", "DSS Pro"),
    (0, b"Creative Voice File", "Creative Voice"),
    (0, b"2BIT", "Audio Visual Research"),
    (0, b" paf", "Ensoniq PARIS"),
    (0, b"fap ", "Ensoniq PARIS"),
    (0, b"PVF1", "Portable Voice Format"),
    (0, b"\x64\xa3\1\0", "IRCAM"),
    (0, b"\x64\xa3\2\0", "IRCAM"),
    (0, b"\x64\xa3\3\0", "IRCAM"),
    (0, b"\0\2\xa3\x64", "IRCAM"),
    (0, b"ALawSoundFile", "Psion"),
    (0, b"Extended Instrument", "FastTracker"),
    (8, b"8SVX", "IFF 8SVX"),
    (8, b"16SV", "IFF 16SV"),
    (0, b"\0\0\x01\xb3", "MPEG video"),
)
OTHERS = (
    (0, b"PK\x03\x04", "a ZIP archive"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (0, b"Rar!", "a RAR archive"),
    (257, b"ustar", "a tar archive"),
    (0, b"%PDF", "a PDF"),
    (0, b"\x89PNG", "a picture"),
    (0, b"\xff\xd8\xff", "a picture"),
    (0, b"GIF8", "a picture"),
    (0, b"version https://git-lfs", "a pointer of Git LFS; fetch the file itself"),
)
TRANSPORT_BYTES = 188  # of a packet of an MPEG transport stream, each of which begins with the same byte

# Codings inside of formats that the decoder knows.
CAF_CODINGS = {
    b"aac ": "AAC", b"aach": "AAC", b"aacp": "AAC", b"aacl": "AAC", b"ima4": "IMA ADPCM", b".mp3": "MP3",
    b".mp2": "MP2", b".mp1": "MP1", b"opus": "Opus", b"ilbc": "iLBC", b"samr": "AMR", b"sawb": "AMR-WB",
    b"MAC3": "MACE", b"MAC6": "MACE", b"QDMC": "QDesign Music", b"QDM2": "QDesign Music", b"Qclp": "Qualcomm PureVoice",
    b"flac": "FLAC", b"ac-3": "AC-3", b"ec-3": "E-AC-3", b"agsm": "GSM 6.10",
}  # fmt: skip
AIFC_CODINGS = {
    b"MAC3": "MACE", b"MAC6": "MACE", b"QDMC": "QDesign Music", b"QDM2": "QDesign Music", b"Qclp": "Qualcomm PureVoice",
    b".mp3": "MP3", b"ACE2": "ACE", b"ACE8": "ACE", b"G722": "G.722", b"G726": "G.726", b"G728": "G.728",
    b"rt24": "RT24", b"rt29": "RT29", b"SDX2": "SDX2", b"ADP4": "ADPCM",
}  # fmt: skip
AU_CODINGS = {24: "G.722"}


def foreign_format(head: bytes) -> str:
    r"""The name of a format of sound that no decoder here reads; empty where it is none that is known.

    Args:
        head: the first bytes of a file, 256 or more where it has them.

    >>> foreign_format(b"\x02#!SILK_V3")
    'SILK'
    """
    for offset, magic, name in SOUND:
        if head[offset:].startswith(magic):
            return name
    if head[:1] == b"G" and head[TRANSPORT_BYTES : TRANSPORT_BYTES + 1] == b"G":
        return "an MPEG transport stream"
    return ""


def other_content(head: bytes) -> str:
    """What a file is that is no sound, with its article; empty where that is not known."""
    return next((name for offset, magic, name in OTHERS if head[offset:].startswith(magic)), "")
