"""Formats that people do have and that the decoder cannot read, told by their first bytes so that they can be named."""

SOUND = (  # offset, first bytes there, name
    (4, b"ftyp", "MP4 or M4A"),
    (0, b"\x1a\x45\xdf\xa3", "WebM or Matroska"),
    (0, b"#!AMR-WB", "AMR-WB"),
    (0, b"#!AMR", "AMR"),
    (0, b"#!EVRC", "EVRC"),
    (0, b"#!SILK", "SILK"),
    (1, b"#!SILK", "SILK"),
    (0, b"#!iLBC", "iLBC"),
    (0, b"\x30\x26\xb2\x75", "WMA"),
    (0, b"FLV", "Flash video"),
    (8, b"AVI ", "AVI video"),
    (8, b"QLCM", "Qualcomm QCP"),
    (8, b"RMID", "MIDI, which is no recording"),
    (0, b"MThd", "MIDI, which is no recording"),
    (0, b".RMF", "RealMedia"),
    (0, b".ra\xfd", "RealAudio"),
    (0, b"wvpk", "WavPack"),
    (0, b"TTA1", "True Audio"),
    (0, b"MAC ", "Monkey's Audio"),
    (0, b"MPCK", "Musepack"),
    (0, b"MP+", "Musepack"),
    (0, b"OFR ", "OptimFROG"),
    (0, b"tBaK", "TAK"),
    (0, b"ajkg", "Shorten"),
    (0, b"DSD ", "DSD"),
    (0, b"FRM8", "DSD"),
    (0, b"\x02dss", "DSS"),
    (0, b"\x03dss", "DSS"),
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
    (0, b"\x0b\x77", "AC-3"),
    (0, b"\x7f\xfe\x80\x01", "DTS"),
    (0, b"ADIF", "AAC"),
    (0, b"\0\0\x01\xba", "MPEG video"),
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
    (0, b"#EXTM3U", "a playlist"),
    (0, b"[playlist]", "a playlist"),
    (0, b"version https://git-lfs", "a pointer of Git LFS; fetch the file itself"),
)
TRANSPORT_BYTES = 188  # of a packet of an MPEG transport stream, each of which begins with the same byte
LATM_BYTES = 3  # before a packet's contents, and its length in two of them

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
    """The name of a format of sound that the decoder cannot read; empty where it is none that is known.

    Args:
        head: the first bytes of a file, 256 or more where it has them.

    >>> foreign_format(b"#!AMR-WB")
    'AMR-WB'
    """
    for offset, magic, name in SOUND:
        if head[offset:].startswith(magic):
            return name
    if head[:1] < b" " and head[4:8] in (b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"):
        return "QuickTime"
    if len(head) >= 2 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0:
        return "AAC"
    latm = LATM_BYTES + (int.from_bytes(head[1:3], "big") & 0x1FFF)
    if head[:1] == b"\x56" and head[1:2] >= b"\xe0" and head[latm : latm + 1] in (b"\x56", b""):
        return "AAC"
    if head[:1] == b"G" and head[TRANSPORT_BYTES : TRANSPORT_BYTES + 1] == b"G":
        return "an MPEG transport stream"
    return ""


def other_content(head: bytes) -> str:
    """What a file is that is no sound, with its article; empty where that is not known."""
    return next((name for offset, magic, name in OTHERS if head[offset:].startswith(magic)), "")
