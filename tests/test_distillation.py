"""Learning from a teacher: whom it knows, what it says, what is learnt of it, and speech that nobody labelled."""

import json
from collections.abc import Callable
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from sound_groove.audio.filterbank import SIXTEEN_BIT
from sound_groove.corpora.manifest import Utterance, read_manifest
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.errors import ConfigurationError, TrainingError
from sound_groove.inputs.dataset import Batch, CropReader, read_crop
from sound_groove.inputs.sampler import MixedSampler, ShuffledSampler, shard
from sound_groove.networks.checkpoint import load_checkpoint
from sound_groove.networks.features import KaldiFbank, remove_mean
from sound_groove.networks.losses import AamSoftmax
from sound_groove.networks.tensor_groups import GROUPS, PUPIL
from sound_groove.synthesis.draws import Draw
from sound_groove.training.distillation import Lesson, Pupil, Teaching
from sound_groove.training.model import Shares, TrainingModel
from sound_groove.training.teacher import StoredTeacher, centred, open_teacher, read_embeddings
from sound_groove.training.trainer import train
from training_corpus import prepare_corpus, rows, tiny_recipe, train_until_killed

WEIGHTS = np.random.default_rng(5).normal(size=(80, 12)).astype(np.float32)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def unlabelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare_corpus(tmp_path_factory.mktemp("more"), training=3, validation=2, seed=50)


def utterance(key: str) -> Utterance:
    return Utterance(key, key.split("/")[0], (f"/somewhere/else/{key}.opus",), (16000,), "train", None, None, None)


def store(path: Path, names: list[str], embeddings: NDArray[Any]) -> Path:
    np.savez(path, path=np.array(names), emb=embeddings)
    return path


def voices(path: Path, *folders: Path, size: int = 16) -> Path:
    """A teacher that gives all utterances of a voice the same embedding."""
    utterances = [one for folder in folders for one in read_manifest(folder)]
    speakers = sorted({(one.paths[0].split("/audio/")[0], one.speaker) for one in utterances})
    directions = np.random.default_rng(0).normal(size=(len(speakers), size))
    of = dict(zip(speakers, directions, strict=True))
    chosen = [of[one.paths[0].split("/audio/")[0], one.speaker] for one in utterances]
    return store(path, [one.paths[0] for one in utterances], np.array(chosen))


def write_model(path: Path, shape: list[Any], weights: NDArray[np.float32], inputs: int = 1) -> Path:
    """A model that multiplies the mean over time of the absolute input with weights: (B, T, 80), or (B, samples).

    By its metadata it takes features as 3D-Speaker's models do.
    """
    nodes = [helper.make_node("Abs", ["x"], ["size"])]
    if len(shape) == 2:  # two numbers of a waveform, its mean level and its mean power
        nodes += [
            helper.make_node("Mul", ["x", "x"], ["power"]),
            helper.make_node("ReduceMean", ["size", "one"], ["l"]),
        ]
        nodes += [helper.make_node("ReduceMean", ["power", "one"], ["p"])]
        nodes += [helper.make_node("Concat", ["l", "p"], ["mean"], axis=1)]
    else:
        nodes += [helper.make_node("ReduceMean", ["size", "one"], ["mean"], keepdims=0)]
    nodes += [helper.make_node("MatMul", ["mean", "weights"], ["y"])]
    names = ["x", *(f"x{number}" for number in range(1, inputs))]
    graph = helper.make_graph(
        nodes,
        "teacher",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in names],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["B", weights.shape[1]])],
        [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(np.array([1]), "one")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    if len(shape) > 2:
        helper.set_model_props(model, {"framework": "3d-speaker"})
    onnx.save(model, path)
    return path


def test_the_distance_is_one_minus_the_cosine_of_those_that_are_taught() -> None:
    embeddings = torch.tensor([[3.0, 4.0], [0.0, 2.0], [5.0, 0.0]])
    lesson = Lesson(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]), torch.tensor([True, True, False]))
    assert Pupil(2, 2)(embeddings, lesson) == pytest.approx(0.4)  # 1 - 0.6, and 0
    assert Pupil(2, 2)(embeddings, Lesson(lesson.targets, ~lesson.taught)) == pytest.approx(1.0)
    assert list(Pupil(2, 2).parameters()) == []
    projected = Pupil(2, 3).requires_grad_(False)
    assert isinstance(projected.projection, torch.nn.Linear)
    projected.projection.weight[:] = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]])
    targets = torch.tensor([[0.0, 0.0, 1.0]])
    assert projected(embeddings[:1], Lesson(targets, torch.tensor([True]))) == pytest.approx(0.2)


def test_a_crop_at_another_speed_and_an_utterance_that_the_teacher_does_not_know_are_not_taught() -> None:
    teaching = Teaching(torch.eye(3).index_fill(0, torch.tensor([1]), 0.0), plain=1, device=torch.device("cpu"))
    batch = Batch(torch.zeros(4, 1), torch.arange(4), torch.tensor([1, 1, 0, 1]), torch.tensor([0, 1, 2, 2]))
    targets, taught = teaching.lesson(batch)
    assert taught.tolist() == [True, False, False, True]
    assert torch.equal(targets[[0, 3]], torch.eye(3)[[0, 2]])


def test_the_parts_of_a_batch_add_up_whatever_they_hold() -> None:
    """Means are over the whole batch's labels and lessons, wherever they are."""
    generator = torch.Generator().manual_seed(0)
    head = AamSoftmax(6, 5)
    torch.nn.init.normal_(head.weight, generator=generator)
    model = TrainingModel(torch.nn.Identity(), head, Pupil(6, 6))
    model.label_weight, model.weight = 0.5, 3.0
    features = torch.randn(8, 6, generator=generator)
    labels = torch.tensor([0, 1, -1, 2, -1, -1, 3, -1])
    targets = torch.nn.functional.normalize(torch.randn(8, 6, generator=generator))
    taught = torch.tensor([1, 0, 1, 1, 0, 1, 0, 1]).bool()
    whole = model(features, labels, Shares(4, 5), Lesson(targets, taught))
    cosine = torch.nn.functional.cosine_similarity(features, targets)
    known = labels >= 0
    expected = 0.5 * head(features[known], labels[known])[0] + 3.0 * (1 - cosine)[taught].mean()
    assert torch.allclose(whole.loss, expected)
    assert torch.allclose(whole.distance, (1 - cosine)[taught].mean())
    parts = [
        model(features[rows], labels[rows], Shares(4 / 3, 5 / 3), Lesson(targets[rows], taught[rows]))
        for rows in (slice(0, 2), slice(2, 4), slice(4, 8))
    ]
    for name in ("loss", "correct", "distance"):
        assert torch.allclose(sum(getattr(part, name) for part in parts) / 3, getattr(whole, name)), name
    nobody = model(features[4:6], labels[4:6], Shares(1, 1), Lesson(targets[4:6], taught[4:6] & False))
    assert nobody.loss == 0 and nobody.correct == 0
    nobody.loss.backward()  # gradients are there, and none of them is not a number
    assert head.weight.grad is not None and torch.equal(head.weight.grad, torch.zeros_like(head.weight))


@given(labelled=st.integers(1, 12), items=st.integers(1, 12), count=st.integers(1, 30), batches=st.integers(1, 6))
def test_unlabelled_utterances_are_spread_among_the_others_and_all_of_them_come_in_turn(
    labelled: int, items: int, count: int, batches: int
) -> None:
    first = 40
    others = ShuffledSampler(count, items, 3, batches, Draw.UNLABELLED_ORDER)
    sampler = MixedSampler(ShuffledSampler(first, labelled, 3, batches), others, first)
    plans = [sampler.plan(epoch) for epoch in range(-(-count // (items * batches)) + 1)]
    for plan in plans:
        assert plan.shape == (batches, labelled + items)
        for row in plan:
            assert (row >= first).sum() == items
            half = row[: len(row) // 2]  # the first part holds its share of both, to within one
            assert abs((half >= first).sum() - items * len(half) / len(row)) <= 1
    assert {int(index) for plan in plans for index in plan.ravel() if index >= first} == set(
        range(first, first + count)
    )
    if (labelled + items) % 2 == 0:
        halves = [shard(plans[0], rank, 2) for rank in (0, 1)]
        assert np.array_equal(np.sort(np.concatenate(halves, axis=1)), np.sort(plans[0]))


def test_an_item_without_a_label_has_no_class_and_is_played_as_it_is(prepared: Path) -> None:
    utterances = read_manifest(prepared)[:4]
    reader = CropReader(utterances, np.array([0, 1, -1, -1]), 30, seed=0, speeds=(0.9, 1.0, 1.1))
    batch = reader.read_batch([(index, 0, place) for place, index in enumerate([0, 1, 2, 3] * 16)])
    without = batch.utterances >= 2
    assert (batch.labels[without] == -1).all() and (batch.speeds[without] == 1).all()
    assert set(batch.labels[~without].tolist()) == {0, 1, 2, 3, 4, 5}


def test_a_recording_is_known_by_the_end_of_its_path(tmp_path: Path) -> None:
    embeddings = np.array([[3.0, 4.0], [0.0, 2.0], [1.0, 0.0]], dtype=np.float16)
    names = ["train/anna/01.opus", "data/anna/tape/01.flac", "anna/02.wav"]
    teacher = open_teacher(store(tmp_path / "t.npz", names, embeddings))
    assert teacher.embedding_size == 2
    found = teacher.embed([utterance(key) for key in ("anna/01", "anna/tape/01", "anna/03", "anna/02", "ben/01")])
    assert np.allclose(found, [[0.6, 0.8], [0.0, 1.0], [0.0, 0.0], [1.0, 0.0], [0.0, 0.0]], atol=1e-3)


def test_two_recordings_that_may_be_the_same_utterance_are_refused(tmp_path: Path) -> None:
    teacher = StoredTeacher(store(tmp_path / "t.npz", ["a/anna/01.wav", "b/anna/01.flac"], np.eye(2)))
    with pytest.raises(TrainingError, match="'a/anna/01' and 'b/anna/01' may both be utterance anna/01"):
        teacher.embed([utterance("anna/01")])
    assert not teacher.embed([utterance("ben/01")]).any()  # nobody asked for the two


def test_where_several_recordings_have_the_name_the_path_of_the_utterance_tells(tmp_path: Path) -> None:
    names = ["a/anna/01.wav", "else/anna/01.flac", "else/x/anna/01.flac"]
    teacher = StoredTeacher(store(tmp_path / "t.npz", names, np.eye(3)))
    assert teacher.embed([utterance("anna/01")]).argmax() == 1  # of /somewhere/else/anna/01


def test_an_utterance_joined_of_several_files_is_known_by_them(tmp_path: Path) -> None:
    teacher = StoredTeacher(store(tmp_path / "t.npz", ["train/anna/01.opus", "train/anna/02.opus"], np.eye(2)))
    paths = ("/corpus/train/anna/01.opus", "/corpus/train/anna/02.opus", "/corpus/train/anna/03.opus")
    joined = replace(utterance("anna/01+1"), paths=paths[:2], samples=(30_000, 40_000))
    unknown = replace(utterance("anna/02+1"), paths=paths[1:], samples=(30_000, 40_000))
    assert np.allclose(teacher.embed([joined, unknown]), [[0.6, 0.8], [0.0, 0.0]])


def broken(write: Callable[[Path], object], name: str = "t.npz") -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        write(folder / name)
        return folder / name

    return make


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (broken(lambda path: None), "there is no such teacher"),
        (broken(lambda path: path.write_bytes(b"x"), "t.pt"), "is a .npz file of embeddings"),
        (broken(lambda path: path.write_bytes(b"not a zip")), "is not a file of embeddings"),
        (broken(lambda path: np.savez(path, path=["a"])), "is not a file of embeddings"),
        (broken(lambda path: np.savez(path, path=["a"], emb=np.zeros((2, 3)))), r"they are <U1 \(1,\) and \(2, 3\)"),
        (broken(lambda path: np.savez(path, path=["a"], emb=np.full((1, 3), np.nan))), "not finite numbers"),
        (
            broken(lambda path: np.savez(path, path=np.array([{}], dtype=object), emb=np.zeros((1, 3)))),
            "is not a file of embeddings",  # which would have to be unpickled
        ),
        (broken(lambda path: path.write_bytes(b"nonsense"), "t.onnx"), "cannot be opened as an ONNX model"),
        (broken(lambda path: write_model(path, ["B", 3, 80], WEIGHTS), "t.onnx"), r"filterbanks \(B, T, F\)"),
        (broken(lambda path: write_model(path, ["B", "T", 80], WEIGHTS, inputs=2), "t.onnx"), "takes more than"),
        (broken(lambda path: write_model(path, ["B", "T", 80], 0 * WEIGHTS), "t.onnx"), "no usable embedding of noise"),
    ],
)
def test_a_teacher_that_cannot_be_used_is_refused_in_one_sentence(
    tmp_path: Path, make: Callable[[Path], Path], reason: str
) -> None:
    with pytest.raises(TrainingError, match=reason) as error:
        open_teacher(make(tmp_path))
    assert "\n" not in str(error.value)


def test_a_model_is_asked_about_the_whole_clean_utterance(tmp_path: Path, prepared: Path) -> None:
    utterances = read_manifest(prepared)[:3]
    by_features = open_teacher(write_model(tmp_path / "f.onnx", ["B", "T", 80], WEIGHTS))
    by_waveform = open_teacher(write_model(tmp_path / "w.onnx", ["B", "N"], WEIGHTS[:2]))
    assert by_features.embedding_size == by_waveform.embedding_size == 12
    for one, features_found, waveform_found in zip(
        utterances, by_features.embed(utterances, False), by_waveform.embed(utterances, False), strict=True
    ):
        samples = read_crop(one, sum(one.samples), 0.0)
        samples = np.tile(samples, -(-31920 // len(samples)))  # shorter than the frames of 2 s: repeated
        features = remove_mean(KaldiFbank()(torch.from_numpy(samples / SIXTEEN_BIT)[None]))[0].numpy()
        expected = np.abs(features).mean(axis=0) @ WEIGHTS
        assert np.allclose(features_found, expected / np.linalg.norm(expected), atol=1e-4)
        expected = np.array([np.abs(samples).mean(), (samples**2).mean()]) @ WEIGHTS[:2]
        assert np.allclose(waveform_found, expected / np.linalg.norm(expected), atol=1e-4)


@pytest.mark.slow
def test_a_network_learns_from_a_teacher_alone_with_speech_that_nobody_labelled(
    tmp_path: Path, prepared: Path, unlabelled: Path
) -> None:
    recipe = tiny_recipe(
        prepared,
        distillation={
            "teacher": str(voices(tmp_path / "t.npz", prepared, unlabelled, size=10)),  # not the size of the network's
            "label_weight": 0,
            "unlabelled": str(unlabelled),
            "unlabelled_items": 4,
        },
        training__epochs=14,
        learning_rate={"peak": 0.01, "final": 0.001, "per_batch": 8, "warmup_epochs": 0.5, "decay": "cosine"},
    )
    said: list[str] = []
    train(recipe, tmp_path / "run", say=said.append)
    distances = [row["teacher_distance"] for row in rows(tmp_path / "run")]
    assert np.mean(distances[:5]) > 0.8 and np.mean(distances[-10:]) < 0.5
    losses = [row["loss"] for row in rows(tmp_path / "run")]
    assert losses == pytest.approx([10 * distance for distance in distances])
    assert "embeddings of 10 values, and of 15 utterances without labels" in "\n".join(said)
    assert "the teacher knows 39 of 39 utterances" in "\n".join(said)
    best, last = (load_checkpoint(tmp_path / "run" / name, GROUPS) for name in ("best.safetensors", "last.safetensors"))
    assert list(last.group(PUPIL)) == ["projection.weight"] and not best.group(PUPIL)
    assert SpeakerEncoder.load(tmp_path / "run").embed([np.ones(16000, np.float32)]).shape == (1, 12)
    facts = json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))
    assert set(facts["other_sha256"]) == {"teacher", "unlabelled"}


def test_what_all_embeddings_have_in_common_is_not_taught() -> None:
    common, own = np.eye(6)[0], np.random.default_rng(0).normal(size=(50, 6))
    embeddings = (3 * common + own).astype(np.float32)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    embeddings[7] = 0.0
    taught = centred(embeddings)
    assert np.linalg.norm(embeddings[:7].mean(axis=0)) > 0.7 and np.linalg.norm(taught.mean(axis=0)) < 0.1
    assert not taught[7].any() and np.allclose(np.linalg.norm(np.delete(taught, 7, 0), axis=1), 1.0)


@pytest.mark.slow
def test_labels_and_a_teacher_together_are_the_sum_of_both(tmp_path: Path, prepared: Path) -> None:
    teacher = str(voices(tmp_path / "t.npz", prepared))
    once = {"training__epochs": 1, "training__batches_per_epoch": 1}
    train(tiny_recipe(prepared, **once), tmp_path / "labels")
    both = tiny_recipe(prepared, **once, distillation={"teacher": teacher, "weight": 7, "label_weight": 0.5})
    train(both, tmp_path / "both")
    (labels,), (sum_of_both,) = rows(tmp_path / "labels"), rows(tmp_path / "both")
    assert sum_of_both["loss"] == pytest.approx(0.5 * labels["loss"] + 7 * sum_of_both["teacher_distance"])
    assert "teacher_distance" not in labels and sum_of_both["accuracy"] == labels["accuracy"]


@pytest.mark.slow
def test_a_run_with_a_model_as_teacher_is_resumed_exactly_and_asks_it_once(
    tmp_path: Path, prepared: Path, unlabelled: Path
) -> None:
    model = write_model(tmp_path / "t.onnx", ["B", "T", 80], WEIGHTS)
    recipe = tiny_recipe(
        prepared,
        distillation={"teacher": str(model), "unlabelled": str(unlabelled), "unlabelled_items": 3},
        augmentation__speeds=[0.9, 1.0, 1.1],
        training__checkpoint_every=2,
    )
    # All in processes of their own, with one thread each: on several, sums are rounded in another order.
    for folder, resume, moment in (("whole", False, "never"), ("run", False, "step"), ("run", True, "never")):
        process = get_context("forkserver").Process(
            target=train_until_killed, args=(recipe, str(tmp_path / folder), resume, moment, 7)
        )
        process.start()
        process.join(120)
        if moment == "step":
            kept = tmp_path / "run" / "teacher.npz"
            assert process.exitcode == -9 and kept.exists()
            written = kept.stat().st_mtime_ns
    assert process.exitcode == 0 and kept.stat().st_mtime_ns == written
    assert [row["loss"] for row in rows(tmp_path / "run")] == [row["loss"] for row in rows(tmp_path / "whole")]
    names, embeddings = read_embeddings(kept)
    assert names[24:] == [one.key for one in read_manifest(unlabelled)]
    assert np.allclose(embeddings[24:], open_teacher(model).embed(read_manifest(unlabelled), False), atol=1e-3)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"teacher": "nowhere.npz"}, "nowhere.npz: there is no such teacher"),
        ({"label_weight": 0}, "distillation.label_weight: is 0 and there is no teacher"),
        ({"teacher": "{teacher}", "weight": 0}, "distillation.weight: is 0, so nothing would be learnt of the teacher"),
        ({"unlabelled_items": 3}, "distillation.unlabelled: only a teacher speaks of it"),
        ({"teacher": "{teacher}", "unlabelled_items": 3}, "distillation.unlabelled_items go together"),
        (
            {"teacher": "{teacher}", "unlabelled": "{prepared}", "unlabelled_items": 2},
            "are those that validation judges by",
        ),
    ],
)
def test_what_does_not_go_together_is_found_before_training(
    tmp_path: Path, prepared: Path, changes: dict[str, Any], expected: str
) -> None:
    there = {"{teacher}": str(voices(tmp_path / "t.npz", prepared)), "{prepared}": str(prepared)}
    settings = {name: there.get(value, value) for name, value in changes.items()}
    with pytest.raises(ConfigurationError, match=expected):
        train(tiny_recipe(prepared, distillation=settings), tmp_path / "run")


@pytest.mark.slow
def test_a_teacher_that_knows_nobody_and_one_that_was_changed_stop_the_run(tmp_path: Path, prepared: Path) -> None:
    stranger = store(tmp_path / "s.npz", ["nobody/01.wav"], np.eye(1, 16))
    with pytest.raises(TrainingError, match="knows none of the 24 utterances"):
        train(tiny_recipe(prepared, distillation={"teacher": str(stranger)}), tmp_path / "stranger")
    teacher = voices(tmp_path / "t.npz", prepared)
    recipe = tiny_recipe(prepared, distillation={"teacher": str(teacher)}, training__epochs=1)
    train(recipe, tmp_path / "run")
    store(teacher, ["nobody/01.wav"], np.eye(1, 16))
    with pytest.raises(ConfigurationError, match=r"distillation\.teacher: is not the one that this run learnt from"):
        train(recipe, tmp_path / "run", resume=True)
