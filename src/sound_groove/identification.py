"""Identification: which of those enrolled speaks, or nobody of them?

    embedding -> nearest of the gallery -> llr of each, by the model's score map -> probabilities, 'nobody' among them

The llr that a name needs grows by the logarithm of the number enrolled; see `open_set`. As in a comparison, evidence that
is not worth the risk of a wrong answer gives none, nor does a recording with too little speech.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from sound_groove.calibration import ScoreMap, trial_measures
from sound_groove.decision import DecisionRule
from sound_groove.errors import UsageError
from sound_groove.gallery import Gallery, Neighbour
from sound_groove.listening import AudioFacts, HeardRecording
from sound_groove.open_set import OpenSetAnswer, OpenSetVerdict, answer
from sound_groove.types import Embeddings, ModelIdentity, QualityWarning, Scores
from sound_groove.verifier import DEFAULT_PRIOR, DEFAULT_RULE, check_prior, doubts

WEIGHED = 100  # of the nearest, each by itself; the rest together
