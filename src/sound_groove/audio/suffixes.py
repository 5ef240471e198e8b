"""Which files hold sound, by their names."""

# Best first: where one name exists with two suffixes, the cheapest exact copy is taken.
AUDIO_SUFFIXES = (
    *(".wav", ".flac", ".w64", ".caf", ".aiff", ".aif", ".aifc", ".au", ".snd", ".sph", ".wv", ".ape", ".tta"),
    *(".opus", ".ogg", ".oga", ".mp3", ".m4a", ".m4b", ".mp4", ".aac", ".wma", ".amr", ".webm", ".weba", ".mka"),
    *(".mkv", ".mov", ".3gp", ".3g2", ".spx", ".ac3", ".gsm", ".dsf", ".mp2", ".tak", ".qoa"),
)
RANK = {suffix: rank for rank, suffix in enumerate(AUDIO_SUFFIXES)}


def is_audio(name: str) -> bool:
    """Whether a file's suffix is that of audio (decodable or not: the reader says which).

    >>> is_audio("Call 7.WAV"), is_audio("notes.txt")
    (True, False)
    """
    return suffix_of(name) in RANK


def suffix_of(name: str) -> str:
    """The last suffix of a name, in lower case, with its point; empty where there is none."""
    dot = name.rfind(".")
    return name[dot:].lower() if dot > 0 else ""
