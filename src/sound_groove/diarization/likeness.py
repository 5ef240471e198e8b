"""From which mean cosine on two clusters are one speaker, by the model's calibration.

A cosine means something else to each model; a log-likelihood ratio does not. The score map is asked which cosine two
recordings as short and as noisy as these windows need, so that one number serves all models.
"""

from dataclasses import replace

import numpy as np

from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.diarization.hearing import HeardWindows
from sound_groove.scoring.calibration import ScoreMap
from sound_groove.scoring.measures import side_of, trial_measures

# Chosen on made-up conversations of training speakers and of collections that no model was taught.
JOINED_LLR = -0.5
UNREFINED_LLR = 1.0  # VBx is given clusters that are too many rather than too few: it can only leave some out


def joined_similarity(heard: HeardWindows, score_map: ScoreMap, llr: float) -> float:
    """The mean cosine from which on clusters of windows are joined.

    Args:
        heard: the windows, at least one.
        score_map: of the model that embedded them.
        llr: what the evidence must be.

    Returns:
        A cosine; 1 where the map gives so much evidence to none, and then no two windows are joined.
    """
    speech_s = float(np.median([end - start for start, end in heard.windows])) / SAMPLE_RATE
    norm = None if heard.norms is None else float(np.median(heard.norms))
    # However unfamiliar the sound: windows of one recording sound alike, and must be told apart all the same.
    facts = replace(heard.facts, speech_s=speech_s, embedding_norm=norm, unfamiliarity=None)
    side = side_of(facts, float(np.median(score_map.closeness(heard.embeddings))))
    cosine = score_map.score_of(llr, score_map.line(trial_measures(side, side)))
    return 1.0 if cosine is None else cosine
