"""Samples as text that a page can hold: compressed, in a data: URI."""

import base64
import io

import numpy as np
import soundfile

from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.types import Samples

# MP3 comes first, for it plays in every browser; libsndfile writes it from 1.1 on, and Opus from 1.0.29 on.
FORMATS = (("MP3", "MPEG_LAYER_III", "audio/mpeg"), ("OGG", "OPUS", "audio/ogg"), ("WAV", "PCM_16", "audio/wav"))


def encode(samples: Samples) -> str:
    """Samples (n,) at 16 kHz as a data: URI, in the first of FORMATS that the installed libsndfile can write."""
    form, subtype, media_type = next(entry for entry in FORMATS if soundfile.check_format(*entry[:2]))
    buffer = io.BytesIO()
    soundfile.write(buffer, np.clip(samples, -1.0, 1.0), SAMPLE_RATE, format=form, subtype=subtype)
    return f"data:{media_type};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
