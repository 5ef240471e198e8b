"""What is wrong with recordings by themselves: what they hold beside speech, or instead of it, and how they sound."""

from typing import Literal, get_args

import numpy as np

from sound_groove.curation.findings import Told
from sound_groove.curation.heard import HeardCorpus
from sound_groove.percentages import rate_text

Code = Literal[
    "silence",
    "music",
    "noise",
    "too_short",
    "channels_differ",
    "clipping",
    "little_speech",
    "long_silence",
    "low_snr",
    "narrow_band",
    "unfamiliar",
]
CODES: tuple[Code, ...] = get_args(Code)
REFUSED: dict[str, Code] = {"silent": "silence", "too_short": "too_short"}  # by the code of the `AudioError`
SILENT_DB = -60.0  # level, below full scale: what is below holds nothing that anybody would hear
SPOKEN_SHARE = 0.1  # of a recording: with more of it the speech is what it holds, and only too little
MUSIC_SHARE = 0.5  # of a recording, from which on music is told
LOW_SNR_DB = 8.0  # of real recordings of 32 collections 0.7 % have less; with noise as loud as the speech half do


def refused(heard: HeardCorpus, row: int) -> tuple[Told, ...]:
    """What a recording holds that could not be used at all, where that is known."""
    code = REFUSED.get(heard.refusals[row])
    return () if code is None else (Told(code),)


def instead_of_speech(heard: HeardCorpus, row: int) -> tuple[Told, ...]:
    """What a recording with next to no speech holds: too short a word, silence, music or noise; `()` if not sought."""
    level_db, music_s = float(heard.level_db[row]), float(heard.music_s[row])
    if np.isnan(level_db):
        return ()
    if heard.speech_s[row] >= SPOKEN_SHARE * heard.duration_s[row]:
        return (Told("too_short", f"{heard.speech_s[row]:.1f} / {heard.duration_s[row]:.1f} s"),)
    if level_db < SILENT_DB:
        return (Told("silence", f"{level_db:.0f} dB"),)
    if music_s >= MUSIC_SHARE * float(heard.duration_s[row]):
        return (Told("music", _part(heard, row)),)
    return (Told("noise", f"{level_db:.0f} dB"),)


def badly_heard(heard: HeardCorpus, row: int, familiar_up_to: float | None) -> tuple[Told, ...]:
    """What makes a recording with speech less trustworthy than it looks.

    Args:
        heard: of the corpus.
        row: of the recording.
        familiar_up_to: the unfamiliarity up to which recordings are like those that the model is calibrated for; None
            where that is not known.
    """
    amounts = {"little_speech": f"{heard.speech_s[row]:.1f} s"}
    if not np.isnan(heard.level_db[row]):
        amounts["clipping"] = f"{rate_text(float(heard.clipped[row]), 1)}"
        amounts["long_silence"] = f"{heard.silence_s[row]:.1f} / {heard.duration_s[row]:.1f} s"
        amounts["narrow_band"] = f"{heard.band_db[row]:.0f} dB"
    told = [Told(code, amounts.get(code, "")) for code in heard.codes(row)]
    if heard.snr_db[row] < LOW_SNR_DB:
        told.append(Told("low_snr", f"{heard.snr_db[row]:.0f} dB"))
    if heard.music_s[row] >= MUSIC_SHARE * heard.duration_s[row]:
        told.append(Told("music", _part(heard, row)))
    if familiar_up_to is not None and heard.unfamiliarity[row] > familiar_up_to:
        told.append(Told("unfamiliar", f"{heard.unfamiliarity[row] - familiar_up_to:+.1f}"))
    return tuple(sorted(told, key=lambda one: one.code))


def _part(heard: HeardCorpus, row: int) -> str:
    return f"{heard.music_s[row]:.1f} / {heard.duration_s[row]:.1f} s"
