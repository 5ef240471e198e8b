"""Labels that are doubted weigh less in training: by how much, of which utterances, and where it is told."""

from pathlib import Path

import numpy as np
import pytest
import torch

from sound_groove.corpora.manifest import Utterance, read_manifest
from sound_groove.curation.corpus import write_examination
from sound_groove.curation.examination import examine
from sound_groove.errors import ConfigurationError, CorpusError
from sound_groove.inputs.label_noise import read_trust
from sound_groove.networks.losses import AamSoftmax, SpeakerHead, SphereFace2
from sound_groove.training.facts import run_facts
from sound_groove.training.model import Shares, TrainingModel
from sound_groove.training.preflight import preflight
from sound_groove.training.run_folder import RunFolder
from sound_groove.training.trainer import train
from test_curation import MadeUpCorpus
from training_corpus import prepare_corpus, rows, tiny_recipe


def table(folder: Path, *lines: str) -> Path:
    path = folder / "label_noise.tsv"
    path.write_text("recording\tright\n" + "".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def an_utterance(name: str, *paths: str) -> Utterance:
    return Utterance(name, name[0], paths or (f"/{name}",), (16_000,) * max(len(paths), 1), "train", None, None, None)


# --- the loss ---


@pytest.mark.parametrize("make", [AamSoftmax, SphereFace2])
def test_the_loss_is_the_mean_of_what_each_item_alone_loses_times_its_trust(make: type[SpeakerHead]) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        head = make(8, 5)  # type: ignore[call-arg]
        embeddings, labels = torch.randn(4, 8), torch.tensor([0, 3, 3, 1])
    alone = torch.stack([head(embeddings[[row]], labels[[row]])[0] for row in range(4)])
    trust = torch.tensor([1.0, 0.25, 0.0, 0.5])
    assert head(embeddings, labels, trust)[0].item() == pytest.approx(((alone * trust).sum() / 4).item(), rel=1e-5)
    assert head(embeddings, labels)[0].item() == pytest.approx(alone.mean().item(), rel=1e-5)


def test_nothing_is_learnt_from_a_label_without_trust() -> None:
    embeddings = torch.eye(3, requires_grad=True)
    AamSoftmax(3, 2)(embeddings, torch.tensor([0, 1, 1]), torch.tensor([1.0, 0.0, 1.0]))[0].backward()
    assert embeddings.grad is not None
    assert embeddings.grad[1].abs().max() == 0
    assert embeddings.grad[[0, 2]].abs().max() > 0


def test_items_without_a_label_shift_no_trust() -> None:
    head = AamSoftmax(3, 2)
    model = TrainingModel(torch.nn.Identity(), head)
    features, labels, trust = torch.eye(3), torch.tensor([0, -1, 1]), torch.tensor([0.5, 1.0, 0.25])
    expected = head(features[[0, 2]], labels[[0, 2]], trust[[0, 2]])[0]
    assert model(features, labels, Shares(2.0), None, trust).loss.item() == pytest.approx(expected.item(), rel=1e-6)


# --- the table ---


def test_an_utterance_is_trusted_as_far_as_the_worst_of_its_recordings(tmp_path: Path) -> None:
    utterances = [
        an_utterance("a/1", "/1.wav", "/2.wav"),
        an_utterance("a/2"),
        an_utterance("a/3"),
        an_utterance("b/1"),
    ]
    file = table(tmp_path, "/1.wav\t0.9", "/2.wav\t0.25", "/a/2\t0.5", "b/1\t0")
    found = read_trust(file, utterances, {"a/2"})
    assert found.values.tolist() == [0.25, 1.0, 1.0, 0.0]
    assert (found.as_dict()["doubted"], found.as_dict()["lost"]) == (2, 1.75)
    assert "2 utterances are learnt from less, as if 1.8 fewer" in found.summary()


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (["/a/1\t1.5"], "probability from 0 to 1; line 2"),
        (["/a/1\tnan"], "line 2"),
        (["/a/1"], "line 2"),
        (["/elsewhere.wav\t0.5"], "names no utterance that is trained on"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(tmp_path: Path, lines: list[str], told: str) -> None:
    with pytest.raises(CorpusError, match=told):
        read_trust(table(tmp_path, *lines), [an_utterance("a/1")])
    (tmp_path / "other.tsv").write_text("/a/1\t0.5\n")
    with pytest.raises(CorpusError, match="must begin with the line"):
        read_trust(tmp_path / "other.tsv", [an_utterance("a/1")])


def test_what_doctor_doubts_is_a_table(tmp_path: Path) -> None:
    corpus = MadeUpCorpus()
    chosen = corpus.draws.choice(len(corpus.labels), 60, replace=False)
    right = list(corpus.labels)
    for row, other in zip(chosen, np.roll(chosen, 1), strict=True):
        corpus.labels[row] = right[other]
    recordings = corpus.recordings()
    write_examination(tmp_path, recordings, examine(recordings, corpus.heard()))
    utterances = [an_utterance(f"{one.speaker[0]}/{place}", one.path) for place, one in enumerate(recordings)]
    trust = read_trust(tmp_path / "label_noise.tsv", utterances).values
    wrong = np.array([label != own for label, own in zip(corpus.labels, right, strict=True)])
    assert trust[wrong].mean() < 0.1
    assert trust[~wrong].mean() > 0.98


def test_where_nothing_is_doubted_the_table_is_empty_and_taken(tmp_path: Path) -> None:
    assert read_trust(table(tmp_path), [an_utterance("a/1")]).values.tolist() == [1.0]


# --- training ---


def test_the_plan_says_what_is_doubted(tmp_path: Path) -> None:
    utterances = read_manifest(prepare_corpus(tmp_path))
    training = [one for one in utterances if one.split == "train"]
    file = table(tmp_path, f"{training[1].paths[0]}\t0.125")
    recipe = tiny_recipe(tmp_path / "prepared", data__label_noise=str(file))
    plan = preflight(recipe, RunFolder(tmp_path / "run"), resume=False, force=False)
    assert plan.trust is not None
    assert plan.trust.tolist() == [1.0, 0.125, *[1.0] * (len(training) - 2)]
    assert "doubted    1 utterances are learnt from less" in plan.summary()
    facts = run_facts(plan, {}, "", 1)
    assert facts["label_noise"]["doubted"] == 1
    assert facts["label_noise"]["sha256"] == facts["other_sha256"]["label_noise"]
    with pytest.raises(ConfigurationError, match=r"data\.label_noise: .*no such list"):
        missing = tiny_recipe(tmp_path / "prepared", data__label_noise=str(tmp_path / "none.tsv"))
        preflight(missing, RunFolder(tmp_path / "run"), resume=False, force=False)


@pytest.mark.slow
def test_a_run_that_trusts_nothing_loses_nothing(tmp_path: Path) -> None:
    utterances = read_manifest(prepare_corpus(tmp_path))
    file = table(tmp_path, *(f"{one.key}\t0" for one in utterances))
    recipe = tiny_recipe(tmp_path / "prepared", data__label_noise=str(file), training__epochs=1)
    train(recipe, tmp_path / "run")
    assert [row["loss"] for row in rows(tmp_path / "run")] == [0.0] * 5
