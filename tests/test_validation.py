"""Validation while training: which utterances it takes, in which pairs, and the centre of their embeddings."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sound_groove.corpora.manifest import Utterance
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.recipe.schema import ValidationConfiguration
from sound_groove.training.validation import can_be_paired, choose_utterances, find_centre, validate
from sound_groove.types import ModelIdentity


def utterances_of(*speakers: str) -> list[Utterance]:
    return [
        Utterance(f"{speaker}/{number}", speaker, ("x.wav",), (16000,), "validation", None, None, None)
        for number, speaker in enumerate(speakers)
    ]


def test_utterances_are_chosen_evenly_over_the_speakers() -> None:
    listed = utterances_of("a", "a", "a", "a", "b", "b", "c")
    assert [u.key for u in choose_utterances(listed, 5)] == ["a/0", "b/4", "c/6", "a/1", "b/5"]
    assert len(choose_utterances(listed, 100)) == 7
    assert choose_utterances([], 5) == []


def test_pairs_of_both_kinds_are_needed() -> None:
    assert can_be_paired(utterances_of("a", "a", "b"))
    assert not can_be_paired(utterances_of("a", "b", "c"))
    assert not can_be_paired(utterances_of("a", "a"))


class Direction(nn.Module):
    """A stand-in for a network: the mean of the features' first bins over time."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.eye(80))

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        return torch.stack([row[:length].abs().mean(0) for row, length in zip(features, lengths, strict=True)])


def pointing(folder: Path, *pairs: tuple[str, int]) -> list[Utterance]:
    """Utterances whose features point in one direction each: (speaker, bin)."""
    made = []
    for number, (speaker, bin_) in enumerate(pairs):
        features = torch.zeros(200, 80)
        features[:100, bin_], features[100:, bin_] = 1.0, -1.0  # mean 0, so that its removal changes nothing
        torch.save(features, folder / f"{number}.pt")
        stored = str(folder / f"{number}.pt")
        made.append(Utterance(f"{speaker}/{number}", speaker, ("x.wav",), (16000,), "validation", None, None, stored))
    return made


def test_validation_scores_all_pairs(tmp_path: Path) -> None:
    """Two speakers whose features point in two directions, and one utterance that is on the wrong side."""
    made = pointing(tmp_path, ("a", 0), ("a", 0), ("a", 9), ("b", 9), ("b", 9))
    encoder = SpeakerEncoder.of_network(Direction(), ModelIdentity("direction", ""), 80)
    judged = validate(encoder, made, ValidationConfiguration(), stored_features=True)
    # Targets: (0,1) and (3,4) score 1, (0,2) and (1,2) score 0. Nontargets: (2,3) and (2,4) score 1, four score 0.
    assert (judged.targets, judged.nontargets) == (4, 6)
    # Accepting 1: 2 of 4 targets missed, 2 of 6 nontargets accepted. The line from there, (1/3, 1/2), to accepting
    # everything, (1, 0), meets miss = false alarm where 1/2 - 3/4 (t - 1/3) = t.
    assert judged.eer == pytest.approx(3 / 7)


def test_a_centre_is_the_mean_of_the_unit_embeddings_of_utterances_spread_over_the_speakers(tmp_path: Path) -> None:
    made = pointing(tmp_path, ("a", 0), ("a", 1), ("a", 2), ("b", 9), ("b", 8))
    encoder = SpeakerEncoder.of_network(Direction(), ModelIdentity("direction", ""), 80)
    encoder.centre = np.full(80, 0.1, dtype=np.float32)  # of an earlier validation: must not be heeded
    centre = find_centre(encoder, made, ValidationConfiguration(centre_utterances=3), stored_features=True)
    expected = np.zeros(80)
    expected[[0, 9, 1]] = 1 / 3  # the first of a, the first of b, the second of a
    assert centre is not None and np.allclose(centre, expected, atol=1e-6)
    assert find_centre(encoder, made, ValidationConfiguration(centre_utterances=0), stored_features=True) is None
