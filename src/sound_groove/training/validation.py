"""Judging a network on held-out speakers, through the same encoder that serves."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

import numpy as np
import torch
from numpy.typing import NDArray

from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.corpora.manifest import Utterance
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.errors import TrainingError
from sound_groove.evaluation.figure_texts import PERCENT, interval_text
from sound_groove.evaluation.intervals import SpeakerBootstrap, bounds
from sound_groove.inputs.dataset import load_features, read_crop
from sound_groove.inputs.speed import change_speed
from sound_groove.percentages import rate_text
from sound_groove.progress import ProgressBar
from sound_groove.recipe.schema import ValidationConfiguration
from sound_groove.scoring.calibration import ScoreMap
from sound_groove.scoring.map_regression import fit_score_map
from sound_groove.scoring.metrics import eer
from sound_groove.types import Embeddings, Labels, Scores

CHUNK = 64  # recordings in memory at a time
DRAWS = 200  # of speakers, for the interval


@dataclass(frozen=True)
class Validation:
    """How well a network tells held-out speakers apart.

    Attributes:
        eer: equal error rate over all pairs, a fraction.
        targets: pairs of one speaker.
        nontargets: pairs of two.
        score_map: from score to log-likelihood ratio, fitted on these very pairs, and so provisional; None where trial
            lists judge.
        lists: the rate of each trial list, a fraction, of which `eer` is the mean; empty where there are none.
        interval: the bounds of its 95 % interval, by a bootstrap over the speakers
            (`evaluation.intervals`), fractions; None where trial lists judge, or where no draw could be made.
        speakers: held-out speakers whose pairs these are; 0 where trial lists judge.
    """

    eer: float
    targets: int
    nontargets: int
    score_map: ScoreMap | None
    lists: Mapping[str, float] = field(default_factory=dict)
    interval: tuple[float, float] | None = None
    speakers: int = 0

    @property
    def text(self) -> str:
        """The rate and its interval, for people."""
        return eer_text(self.eer, self.interval)


def choose_utterances(utterances: Sequence[Utterance], maximum: int) -> list[Utterance]:
    """At most `maximum` utterances, as evenly spread over the speakers as can be: first one of each, then a second...

    The choice depends on the manifest's order alone.
    """
    by_speaker: dict[str, list[Utterance]] = defaultdict(list)
    for utterance in utterances:
        by_speaker[utterance.speaker].append(utterance)
    rounds = zip_longest(*by_speaker.values())
    chosen = [utterance for one_round in rounds for utterance in one_round if utterance is not None]
    return chosen[:maximum]


def can_be_paired(utterances: Sequence[Utterance]) -> bool:
    """Whether there is a pair of one speaker and a pair of two."""
    speakers = [utterance.speaker for utterance in utterances]
    return len(set(speakers)) >= 2 and len(set(speakers)) < len(speakers)


def validate(
    encoder: SpeakerEncoder, utterances: Sequence[Utterance], settings: ValidationConfiguration, stored_features: bool
) -> Validation:
    """Embed the utterances whole and score all their pairs.

    Args:
        encoder: around the network in training.
        utterances: of held-out speakers, as `choose_utterances` gives them.
        settings: how long an utterance may be.
        stored_features: embed the `.pt` features instead of the audio.

    Raises:
        AudioError, TrainingError: a file cannot be read.
    """
    if not can_be_paired(utterances):
        raise TrainingError("validation needs two held-out speakers, one of them with two utterances")
    embeddings = embed_utterances(
        encoder, utterances, settings.maximum_duration_s, stored_features, "validating"
    )  # (N, D)
    speakers = np.unique([utterance.speaker for utterance in utterances], return_inverse=True)[1]
    first, second = np.triu_indices(len(embeddings), k=1)
    scores = (embeddings @ embeddings.T)[first, second].astype(np.float64)  # (N (N - 1) / 2,)
    labels = speakers[first] == speakers[second]
    count = len(np.unique(speakers))
    about = f"{len(labels)} pairs of {count} held-out speakers, which also chose the checkpoint: provisional"
    return Validation(
        eer=eer(scores, labels),
        targets=int(labels.sum()),
        nontargets=int((~labels).sum()),
        score_map=fit_score_map(scores, labels, fitted_on=about),
        interval=eer_interval(scores, labels, speakers[first], speakers[second]),
        speakers=count,
    )


def eer_interval(
    scores: Scores, labels: Labels, first: NDArray[np.int64], second: NDArray[np.int64]
) -> tuple[float, float] | None:
    """The 95 % interval of the equal error rate of pairs, by a bootstrap over their speakers.

    Args:
        scores: (pairs,) higher = more likely the same speaker.
        labels: (pairs,) True = same speaker.
        first: (pairs,) speaker of the one side, numbered.
        second: (pairs,) speaker of the other.

    Returns:
        Lower and upper bound, fractions; None where no draw of the speakers has pairs of both kinds.
    """
    bootstrap = SpeakerBootstrap(scores, labels, first, second)
    low, high = bounds([drawn.roc.eer for drawn in bootstrap.draw(DRAWS, seed=0)])
    return None if low is None or high is None else (low, high)


def eer_text(eer: float, interval: tuple[float, float] | None) -> str:
    """An equal error rate and its interval, for people.

    >>> eer_text(0.0712, (0.05, 0.0912)), eer_text(0.0712, None)
    ('7.12 % [5.00, 9.12 %]', '7.12 %')
    """
    low, high = (None, None) if interval is None else interval
    return f"{rate_text(eer)} {interval_text({'low': low, 'high': high}, PERCENT)}".rstrip()


def find_centre(
    encoder: SpeakerEncoder, utterances: Sequence[Utterance], settings: ValidationConfiguration, stored_features: bool
) -> Embeddings | None:
    """The mean of the unit embeddings of some training utterances (D,), evenly spread over the speakers.

    Args:
        encoder: around the network in training; its own centre is not heeded.
        utterances: of the training speakers.
        settings: how many, and how long an utterance may be.
        stored_features: embed the `.pt` features instead of the audio.

    Returns:
        What is to be subtracted; None when the settings ask for nothing.
    """
    chosen = choose_utterances(utterances, settings.centre_utterances)
    if not chosen:
        return None
    encoder.centre = None
    embeddings = embed_utterances(encoder, chosen, settings.maximum_duration_s, stored_features, "centring")  # (N, D)
    return np.asarray(embeddings.mean(axis=0, dtype=np.float64), dtype=np.float32)


def embed_utterances(
    encoder: SpeakerEncoder,
    utterances: Sequence[Utterance],
    longest_s: float,
    stored_features: bool,
    doing: str,
    speed: float = 1.0,
) -> Embeddings:
    """The embeddings of utterances, each from its beginning (N, D).

    Args:
        encoder: around the network in training.
        utterances: to embed.
        longest_s: that is taken of each.
        stored_features: embed the `.pt` features instead of the audio.
        doing: what the progress bar says.
        speed: at which audio is played.

    Raises:
        AudioError, TrainingError: a file cannot be read.
    """
    parts = []
    for start in ProgressBar(range(0, len(utterances), CHUNK), desc=doing, unit="batch", leave=False, disable=None):
        chunk = utterances[start : start + CHUNK]
        if stored_features:
            frames = int(longest_s * 100)
            features = [load_features(str(u.feature_path))[:frames].float().numpy() for u in chunk]
            parts.append(encoder.embed_features(features))
        else:
            samples = int(longest_s * SAMPLE_RATE)
            crops = (read_crop(u, min(samples, sum(u.samples)), 0.0) for u in chunk)
            parts.append(
                encoder.embed(
                    [change_speed(torch.from_numpy(crop)[None], speed)[0].numpy() for crop in crops], keep_pauses=True
                )
            )
    return np.concatenate(parts)
