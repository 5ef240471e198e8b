"""Sound-Groove: speaker verification with ECAPA-TDNN.

    import sound_groove

    result = sound_groove.compare("a.wav", "b.wav")
    print(result.verdict, result.probability)

Importing the package is light: each name below is loaded when it is first used.
"""

from typing import TYPE_CHECKING

from sound_groove._version import __version__

if TYPE_CHECKING:
    from sound_groove.archive.finding import find
    from sound_groove.archive.indexing import index_archive
    from sound_groove.audio.reading import load_audio
    from sound_groove.comparison import Comparison, compare
    from sound_groove.diarization.who import who
    from sound_groove.encoder.encoder import SpeakerEncoder
    from sound_groove.errors import SoundGrooveError
    from sound_groove.scoring.decision import DecisionRule
    from sound_groove.voiceprints.enrolment import enroll
    from sound_groove.voiceprints.gallery import open_gallery
    from sound_groove.voiceprints.identification import identify
    from sound_groove.voiceprints.store.opening import open_store
    from sound_groove.voiceprints.verification import verify_speaker

__all__ = [
    "Comparison",
    "DecisionRule",
    "SoundGrooveError",
    "SpeakerEncoder",
    "__version__",
    "compare",
    "enroll",
    "find",
    "identify",
    "index_archive",
    "load_audio",
    "open_gallery",
    "open_store",
    "verify_speaker",
    "who",
]

_HOMES = {
    "Comparison": "comparison",
    "DecisionRule": "scoring.decision",
    "SoundGrooveError": "errors",
    "SpeakerEncoder": "encoder.encoder",
    "compare": "comparison",
    "enroll": "voiceprints.enrolment",
    "find": "archive.finding",
    "identify": "voiceprints.identification",
    "index_archive": "archive.indexing",
    "load_audio": "audio.reading",
    "open_gallery": "voiceprints.gallery",
    "open_store": "voiceprints.store.opening",
    "verify_speaker": "voiceprints.verification",
    "who": "diarization.who",
}


def __getattr__(name: str) -> object:
    """Load a public name from its module (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'sound_groove' has no attribute '{name}'")
    from importlib import import_module

    value: object = getattr(import_module(f"sound_groove.{_HOMES[name]}"), name)
    globals()[name] = value  # found directly from now on
    return value


def __dir__() -> list[str]:
    """The public names, for completion."""
    return sorted({*globals(), *__all__})
