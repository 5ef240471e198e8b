"""Hard negatives: who comes with whom, and that nobody is dropped for it."""

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sound_groove.errors import ConfigurationError
from sound_groove.inputs.mining import HardSampler, find_neighbours
from sound_groove.inputs.sampler import PkSampler
from sound_groove.networks.checkpoint import load_checkpoint
from sound_groove.networks.losses import AamSoftmax
from sound_groove.training import trainer
from sound_groove.training.preflight import preflight
from sound_groove.training.run_folder import RunFolder
from sound_groove.training.trainer import train
from training_corpus import prepare_corpus, tiny_recipe


def on_a_circle(count: int) -> torch.Tensor:
    """Centres at angles that grow apart: the neighbours of each are known."""
    angles = torch.tensor([0.1 * number + 0.01 * number**2 for number in range(count)])
    return torch.stack((angles.cos(), angles.sin()), dim=1) * 3.0


def sampler_of(
    speakers: int = 12, anchors: int = 2, companions: int = 2, utterances: int = 2, seed: int = 0, batches: int = 6
) -> HardSampler:
    labels = np.repeat(np.arange(speakers), 3)
    sampler = HardSampler(PkSampler(labels, anchors, utterances, seed, batches), companions)
    return sampler.knowing(find_neighbours(on_a_circle(speakers), 4 * companions))


def groups(sampler: HardSampler, row: NDArray[np.int64]) -> list[list[int]]:
    """The speakers of a batch: each anchor, then its companions."""
    speakers = sampler.anchors.labels[row].reshape(-1, sampler.anchors.utterances)
    assert (speakers == speakers[:, :1]).all()
    return speakers[:, 0].reshape(-1, 1 + sampler.companions).tolist()


def test_the_nearest_centres_are_found_nearest_first() -> None:
    # At 0, 11, 24, 39, 56 hundredths of a radian.
    assert find_neighbours(on_a_circle(5), 2).tolist() == [[1, 2], [0, 2], [1, 3], [2, 4], [3, 2]]
    assert find_neighbours(on_a_circle(3), 9).shape == (3, 2)
    many = torch.randn(2500, 16, generator=torch.Generator().manual_seed(0))  # more than are compared at a time
    found = find_neighbours(many, 5)
    directions = many / many.norm(dim=1, keepdim=True)
    for row in (0, 1023, 1024, 2499):
        similarity = (directions @ directions[row]).numpy()
        similarity[row] = -np.inf
        assert found[row].tolist() == np.argsort(-similarity)[:5].tolist()


def test_an_anchor_comes_with_the_speakers_nearest_to_it_that_are_free() -> None:
    sampler = sampler_of()
    assert sampler.neighbours is not None
    for row in sampler.plan(3):
        taken = {group[0] for group in groups(sampler, row)}
        for anchor, *companions in groups(sampler, row):
            free = [other for other in sampler.neighbours[anchor].tolist() if other not in taken]
            assert companions == free[:2]
            taken.update(companions)


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 12), st.integers(1, 4), st.integers(1, 3), st.integers(1, 4), st.integers(0, 99), st.booleans())
def test_a_batch_has_p_distinct_speakers_and_every_speaker_is_an_anchor_once_a_pass(
    speakers: int, anchors: int, companions: int, utterances: int, seed: int, known: bool
) -> None:
    anchors = min(anchors, max(1, speakers // (1 + companions)))
    companions = min(companions, speakers // anchors - 1)
    if companions < 1:
        return
    per_pass = math.ceil(speakers / anchors)
    sampler = sampler_of(speakers, anchors, companions, utterances, seed, per_pass)
    sampler = sampler if known else HardSampler(sampler.anchors, companions)
    seen = Counter[int]()
    for row in sampler.plan(2):
        assert len(row) == anchors * (1 + companions) * utterances
        present = [speaker for group in groups(sampler, row) for speaker in group]
        assert len(set(present)) == len(present)
        seen.update(group[0] for group in groups(sampler, row))
        for visit in row.reshape(-1, utterances):
            assert len(set(visit.tolist())) == min(3, utterances)
    assert set(seen) == set(range(speakers))


def test_a_plan_is_a_function_of_seed_epoch_and_neighbours() -> None:
    assert np.array_equal(sampler_of().plan(1), sampler_of().plan(1))
    assert not np.array_equal(sampler_of().plan(1), sampler_of(seed=1).plan(1))
    assert not np.array_equal(sampler_of().plan(1), sampler_of().plan(2))
    turned = sampler_of().knowing(find_neighbours(on_a_circle(12).flip(0), 8))
    assert not np.array_equal(sampler_of().plan(1), turned.plan(1))


def test_all_utterances_of_companions_come_in_turn() -> None:
    sampler = sampler_of(batches=200)
    counts = np.bincount(sampler.plan(0).reshape(-1), minlength=36)
    assert counts.min() > 0.5 * counts.reshape(12, 3).mean(axis=1).min()


def test_the_centre_of_a_class_is_the_mean_direction_of_its_subcentres() -> None:
    loss = AamSoftmax(2, 2, subcenters=2)
    loss.load_state_dict({"weight": torch.tensor([[3.0, 0.0], [0.0, 5.0], [-1.0, 0.0], [-2.0, 0.0]])})
    assert torch.allclose(loss.centres(), torch.tensor([[0.5, 0.5], [-1.0, 0.0]]))


@pytest.mark.slow
def test_training_finds_them_anew_for_each_epoch_and_keeps_them_for_a_resumed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = prepare_corpus(tmp_path / "corpus")
    recipe = tiny_recipe(
        prepared,
        data__sampler={"speakers": 4, "utterances": 2, "companions": 1},
        augmentation={"speeds": [0.9, 1.0]},
        training__epochs=2,
    )
    found: list[NDArray[np.int64]] = []

    def noting(centres: torch.Tensor, count: int) -> NDArray[np.int64]:
        assert centres.shape == (8, 12)  # of the classes of one speed
        found.append(find_neighbours(centres, count))
        return found[-1]

    monkeypatch.setattr(trainer, "find_neighbours", noting)
    train(recipe, tmp_path / "run")
    kept = load_checkpoint(tmp_path / "run" / "last.safetensors", ("mining.",)).tensors["mining.neighbours"]
    assert len(found) == 2 and kept.tolist() == found[-1].tolist()  # those of the beginning of the last epoch
    assert kept.shape == (8, 4) and all(number not in row for number, row in enumerate(kept.tolist()))
    steps = (tmp_path / "run" / "steps.jsonl").read_text(encoding="utf-8")
    plain = tiny_recipe(prepared, augmentation={"speeds": [0.9, 1.0]}, training__epochs=2)
    train(plain, tmp_path / "plain")
    assert steps != (tmp_path / "plain" / "steps.jsonl").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("sampler", "expected"),
    [
        ({"speakers": 4, "companions": 2}, "4 speakers a batch cannot be groups of 3, each speaker with 2 others"),
        ({"kind": "shuffled", "batch_size": 8, "companions": 1}, "come with the speakers of a 'pk' batch"),
    ],
)
def test_companions_that_do_not_fit_are_mistakes(tmp_path: Path, sampler: dict[str, Any], expected: str) -> None:
    prepared = prepare_corpus(tmp_path / "corpus")
    with pytest.raises(ConfigurationError, match=expected):
        preflight(tiny_recipe(prepared, data__sampler=sampler), RunFolder(tmp_path / "run"), False, False)
