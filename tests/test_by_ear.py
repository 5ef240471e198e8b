"""Distillation by ear: its teacher, its maker of crops, its loss, and a training that goes on exactly."""

import math
import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sound_groove.audio.filterbank import SIXTEEN_BIT
from sound_groove.cli import main
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.errors import ConfigurationError, TrainingError
from sound_groove.export.onnx_file import export_onnx
from sound_groove.inputs.crops.pool import CropPool
from sound_groove.inputs.crops.visits import EpochVisits
from sound_groove.networks.architectures import build_network
from sound_groove.networks.campplus import CamPlusPlus
from sound_groove.networks.checkpoint import load_checkpoint, save_checkpoint
from sound_groove.networks.checkpoint_header import CheckpointHeader
from sound_groove.networks.features import KaldiFbank, remove_mean
from sound_groove.networks.tensor_groups import GROUPS, HEAD, NETWORK
from sound_groove.recipe.network import NetworkConfiguration
from sound_groove.recipe.schema import Recipe
from sound_groove.training.averaging import MovingMean
from sound_groove.training.by_ear import trainer as by_ear_trainer
from sound_groove.training.by_ear.loss import FrameDistance, HearingLoss
from sound_groove.training.by_ear.maker import make_crops_of
from sound_groove.training.by_ear.plan import plan_by_ear
from sound_groove.training.by_ear.teacher import open_hearing_teacher
from sound_groove.training.pace import Pace
from sound_groove.training.run_folder import run_folder
from sound_groove.training.trainer import check, train
from sound_groove.types import ModelIdentity
from training_corpus import TINY_NETWORK, prepare_corpus, rows, tiny_recipe

CROPS = {
    "seconds": [0.5, 1.0],
    "lengths": 2,
    "rounds": 1,
    "visits": 2,
    "kept": 6,
    "coded": 0.5,
    "music": 0.3,
    "mixed": 0.3,
    "clipped": 0.3,
}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare_corpus(tmp_path_factory.mktemp("by_ear"), training=4, validation=2, utterances=2)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny CAM++ as 3D-Speaker would publish it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        network = CamPlusPlus(channels=16, embedding_size=10)
    path = tmp_path_factory.mktemp("teacher") / "cam.pt"
    torch.save(network.state_dict(), path)
    return path


def ear_recipe(prepared: Path, teacher: Path, **changes: Any) -> Recipe:
    settings: dict[str, Any] = {
        "data__sampler": {"kind": "shuffled", "batch_size": 4},
        "distillation": {"of": "crop", "teacher": str(teacher), "crops": dict(CROPS)},
        "optimizer__kind": "muon",
        "training__batches_per_epoch": None,
        "training__epochs": 3,
        "training__moving_average": 0.9,
        "validation__centre_utterances": 0,
    }
    return tiny_recipe(prepared, **(settings | changes))


def in_loop(prepared: Path, teacher: Path, **changes: Any) -> Recipe:
    """A recipe whose training makes its crops itself."""
    return ear_recipe(prepared, teacher, distillation__crops__maker="loop", **changes)


@pytest.mark.parametrize("has_bf16", [False, True])
def test_the_teacher_is_fed_as_its_makers_feed_it(
    teacher: Path, monkeypatch: pytest.MonkeyPatch, has_bf16: bool
) -> None:
    monkeypatch.setattr("sound_groove.training.by_ear.teacher.cpu_computes_bf16", lambda: has_bf16)
    heard = open_hearing_teacher(teacher, torch.device("cpu"))
    steps = np.random.default_rng(1).integers(-3000, 3000, (3, 8000)).astype(np.int16)
    network = CamPlusPlus(channels=16, embedding_size=10).eval()
    network.load_state_dict(torch.load(teacher, weights_only=True), strict=True)
    # Our front end scales [-1, 1] to 16-bit steps; theirs does not.
    waveforms = torch.from_numpy(steps).float() / SIXTEEN_BIT / SIXTEEN_BIT
    with torch.no_grad():
        expected = torch.nn.functional.normalize(network(remove_mean(KaldiFbank().eval()(waveforms))))
    assert heard.embedding_size == 10
    assert np.allclose(heard.hear(steps).embeddings, expected.numpy(), atol=0.02 if has_bf16 else 1e-5)


def test_what_the_teacher_pools_is_what_its_embedding_is_made_of(teacher: Path) -> None:
    heard = open_hearing_teacher(teacher, torch.device("cpu"))
    steps = np.random.default_rng(1).integers(-3000, 3000, (3, 8000)).astype(np.int16)
    embeddings, frames = heard.hear(steps)
    # 48 filterbanks, of which every second has a frame.
    assert frames is not None and frames.shape == (3, 16, 24) and heard.pooled_size == 16
    network = CamPlusPlus(channels=16, embedding_size=10).eval()
    network.load_state_dict(torch.load(teacher, weights_only=True), strict=True)
    pooled = torch.from_numpy(frames).float()
    with torch.no_grad():
        again = network.xvector.dense(torch.cat([pooled.mean(dim=2), pooled.std(dim=2)], dim=1))
    assert torch.nn.functional.cosine_similarity(again, torch.from_numpy(embeddings)).min() > 0.99


def test_a_model_of_ours_teaches_too(model_path: Path) -> None:
    heard = open_hearing_teacher(model_path, torch.device("cpu"))
    steps = np.random.default_rng(1).integers(-3000, 3000, (2, 40_000)).astype(np.int16)
    expected = SpeakerEncoder.load(model_path).embed(list((steps / SIXTEEN_BIT).astype(np.float32)))
    assert np.allclose(heard.hear(steps).embeddings, expected, atol=1e-5)
    assert heard.pooled_size is None and heard.hear(steps).frames is None


@pytest.mark.parametrize("content", [b"", b"not a pickle", b"PK\x03\x04"])
def test_a_file_that_is_no_state_dictionary_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "cam.pt"
    path.write_bytes(content)
    with pytest.raises(TrainingError, match=r"cam\.pt: is not a state dictionary"):
        open_hearing_teacher(path, torch.device("cpu"))


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    torch.save(build_network(NetworkConfiguration(channels=16)).state_dict(), tmp_path / "ecapa.pt")
    with pytest.raises(TrainingError, match=r"ecapa\.pt: is not a state dictionary of CAM\+\+"):
        open_hearing_teacher(tmp_path / "ecapa.pt", torch.device("cpu"))


def test_the_distance_is_worked_by_hand() -> None:
    loss = HearingLoss(2, 2)
    loss.begin(torch.tensor([0.0, 0.5]), torch.tensor([2.0]))
    # From (1, 0.5) and (0, 1) the mean is taken: (1, 0) and (0, 0.5), directions (1, 0) and (0, 1).
    targets = torch.tensor([[1.0, 0.5], [0.0, 1.0]])
    embeddings = torch.tensor([[2.0, 0.0], [3.0, 3.0]])
    crops, pairs, _, _ = loss(embeddings, targets)
    half = 0.5**0.5
    assert crops.item() == pytest.approx((0.0 + 1.0 - half) / 2, abs=1e-6)
    assert pairs.item() == pytest.approx(half**2, abs=1e-6)  # (1, 0) and (h, h) have the cosine h, the teacher's 0


def test_the_norm_announces_a_cosine_and_only_it_moves() -> None:
    loss = HearingLoss(8, 8)
    loss.begin(torch.zeros(8), torch.tensor([3.0, 5.0]))
    announced = loss.announced(torch.tensor([0.0, 1.0, 4.0, 100.0]))
    assert announced[0] == 0.0 and announced[2].item() == pytest.approx(0.6, abs=1e-5)
    assert (announced.diff() > 0).all() and announced[3] < 1.0
    embeddings = torch.randn(5, 8, generator=torch.Generator().manual_seed(1)).requires_grad_()
    loss(embeddings, torch.eye(5, 8)).norms.backward()
    assert embeddings.grad is not None
    along = torch.nn.functional.cosine_similarity(embeddings.grad, embeddings.detach()).abs()
    assert along == pytest.approx(torch.ones(5), abs=1e-4)  # the gradient lies along the embedding


def test_a_network_that_hears_as_its_teacher_has_no_distance() -> None:
    loss = HearingLoss(6, 6)
    targets = torch.nn.functional.normalize(torch.randn(7, 6, generator=torch.Generator().manual_seed(2)))
    crops, pairs, _, _ = loss(4.0 * targets, targets)
    assert crops.item() == pytest.approx(0.0, abs=1e-6) and pairs.item() == pytest.approx(0.0, abs=1e-6)


def test_whom_a_crop_resembles_is_worked_by_hand_and_the_newest_are_remembered() -> None:
    loss = HearingLoss(2, 3, neighbours=3, temperature=0.5)
    with torch.no_grad():
        loss.log_sharpness.fill_(math.log(2.0))
    right, up, left = torch.tensor([3.0, 0.0]), torch.tensor([0.0, 2.0]), torch.tensor([-1.0, 0.0])
    a, b, c = torch.eye(3)
    # Two crops have one neighbour each, of which both sides are sure.
    first = loss.train()(torch.stack([right, up]), torch.stack([a, b])).neighbours
    assert first.item() == pytest.approx(0.0, abs=1e-6) and loss.remembered == 2
    # `left` is told to resemble `a`, which is right of it and so its opposite, as surely as exp(2), and b not at all.
    embeddings = left[None].clone().requires_grad_()
    second = loss(embeddings, a[None]).neighbours
    told, said = torch.tensor([2.0, 0.0]).softmax(0), torch.tensor([-2.0, 0.0]).softmax(0)
    assert second.item() == pytest.approx(float((told * (told / said).log()).sum()), abs=1e-6)
    second.backward()
    assert embeddings.grad is not None and embeddings.grad[0, 1].item() != 0.0
    assert loss.remembered == 3 and loss.earlier.tolist() == [[-1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]
    loss.eval()(up[None], c[None])
    assert loss.remembered == 3 and loss.earlier[0].tolist() == [-1.0, 0.0]
    loss.train()(torch.stack([up, up]), torch.stack([c, b]))
    assert loss.earlier.tolist() == [[0.0, 1.0], [0.0, 1.0], [-1.0, 0.0]]
    assert loss.earlier_targets.tolist() == [c.tolist(), b.tolist(), a.tolist()]


def test_the_distance_of_frames_is_worked_by_hand() -> None:
    distance = FrameDistance(2, 2, stride=1)
    distance.variance.copy_(torch.tensor([1.0, 4.0]))
    # The network has a frame for every 10 ms, the teacher for every 20: from sample 320 on these are frames 2 and 4.
    frames = torch.arange(6.0).expand(3, 2, 6)
    told = torch.tensor([[[2.0, 5.0], [0.0, 4.0]], [[0.0, 2.0], [0.0, 2.0]], [[9.0, 9.0], [9.0, 9.0]]])
    first = (0.0 + 1.0 + (4.0 + 0.0) / 4.0) / 4.0  # channel 0 misses 0 and 1, channel 1 misses 2 and 0
    assert distance(frames, told, torch.tensor([320, 0, -1])).item() == pytest.approx(first / 2)
    assert distance(frames, told, torch.tensor([-1, -1, -1])).item() == 0.0
    as_often = FrameDistance(2, 2, stride=2)  # a frame for every 20 ms: from sample 320 on these are frames 1 and 2
    by_hand = (0.0 + 4.0 + 4.0 + 1.0) / 4.0  # channel 0 misses 1 - 1 and 2 - 4, channel 1 misses 1 + 1 and 2 - 3
    assert as_often(frames, told - 1.0, torch.tensor([320, -1, -1])).item() == pytest.approx(by_hand)


def test_a_distance_of_frames_begins_with_the_variance_of_the_teachers() -> None:
    distance = FrameDistance(3, 2, stride=1)
    told = torch.randn(4, 2, 50, generator=torch.Generator().manual_seed(3)) * torch.tensor([1.0, 3.0])[:, None]
    distance.begin([told[:2].half(), told[2:, :, :20].half()])
    whole = torch.cat([told[:2].transpose(1, 2).flatten(0, 1), told[2:, :, :20].transpose(1, 2).flatten(0, 1)])
    assert torch.allclose(distance.variance, whole.var(dim=0), rtol=0.01)
    assert distance.projection.weight.shape == (2, 3, 1)  # other sizes are met through a projection


def test_a_crop_that_has_nobody_to_be_compared_with_costs_nothing() -> None:
    loss = HearingLoss(4, 4, neighbours=2).train()
    assert loss(torch.ones(1, 4), torch.eye(4)[:1]).neighbours.item() == pytest.approx(0.0, abs=1e-6)


def test_a_moving_mean_is_worked_by_hand() -> None:
    model = torch.nn.Linear(1, 1, bias=False)
    mean = MovingMean(0.5)
    for step, weight in enumerate((8.0, 4.0, 2.0)):
        torch.nn.init.constant_(model.weight, weight)
        mean.follow(model, step)
    # At step 1 the mean before counts for 2 / 11, at step 2 for 3 / 12.
    expected = (8.0 * 2 / 11 + 4.0 * 9 / 11) * 0.25 + 2.0 * 0.75
    assert mean.weights["weight"].item() == pytest.approx(expected)


def test_a_shard_is_a_function_of_its_number(prepared: Path, teacher: Path, tmp_path: Path) -> None:
    recipe = ear_recipe(prepared, teacher)
    for name, most in (("a", 3), ("b", 1), ("b", 2)):  # the second maker is stopped and goes on
        assert make_crops_of(recipe, tmp_path / name, most) == most
    pools = [CropPool(tmp_path / name / "crops", 6) for name in ("a", "b")]
    assert pools[0].numbers() == pools[1].numbers() == [0, 1, 2]
    contents = [[pool.path(number).read_bytes() for number in range(3)] for pool in pools]
    assert contents[0] == contents[1] and len(set(contents[0])) == 3
    shard = pools[0].read(1)
    assert {length: steps.shape for length, steps in shard.steps.items()} == {8000: (4, 8000), 16000: (4, 16000)}
    heard = open_hearing_teacher(teacher, torch.device("cpu"))
    for length, steps in shard.steps.items():  # the teacher heard what is in the shard
        assert np.allclose(heard.hear(steps).embeddings, shard.targets[length], atol=2e-3)
        assert np.abs(steps).max(axis=1).min() > 10


def test_only_voices_as_they_were_keep_their_labels(prepared: Path, teacher: Path, tmp_path: Path) -> None:
    seen: Counter[bool] = Counter()
    for warped, mixed in ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0)):
        recipe = ear_recipe(prepared, teacher, distillation__crops__warped=warped, distillation__crops__mixed=mixed)
        make_crops_of(recipe, tmp_path / f"{warped}{mixed}", 1)
        shard = CropPool(tmp_path / f"{warped}{mixed}" / "crops", 6).read(0)
        labels = np.concatenate(list(shard.labels.values()))
        assert (labels >= 0).all() if warped == mixed == 0.0 else (labels == -1).all()
        seen[bool((labels >= 0).any())] += 1
    assert seen == {True: 1, False: 2}


def test_takes_in_a_row_are_of_one_voice(prepared: Path, teacher: Path, tmp_path: Path) -> None:
    recipe = ear_recipe(
        prepared, teacher,
        data__sampler={"kind": "shuffled", "batch_size": 10},
        distillation__crops=CROPS | {"takes": 4, "warped": 0.0, "mixed": 0.0, "lengths": 1, "rounds": 4},
    )  # fmt: skip
    make_crops_of(recipe, tmp_path, 1)
    shard = CropPool(tmp_path / "crops", 6).read(0)
    labels = np.concatenate(list(shard.labels.values())).reshape(4, 10)
    assert (labels[:, :4] == labels[:, :1]).all() and (labels[:, 4:8] == labels[:, 4:5]).all()
    assert (labels[:, 8] == labels[:, 9]).all() and len(set(labels[:, ::4].flatten().tolist())) > 1
    crops = np.concatenate(list(shard.steps.values()))
    assert len({crop.tobytes() for crop in crops}) == len(crops)


@pytest.mark.slow
def test_training_by_ear_learns_and_its_model_can_be_exported(
    prepared: Path, teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    visits_left: list[int] = []

    def pace(visits: int, say: Callable[[str], None], unit: str) -> Pace:
        visits_left.append(visits)
        return Pace(visits, say, unit)

    monkeypatch.setattr(by_ear_trainer, "Pace", pace)
    recipe = in_loop(
        prepared, teacher, data__sampler={"kind": "shuffled", "batch_size": 16},
        distillation__crops__coded=0.0,
        distillation__crops__music=0.0,
        distillation__crops__clipped=0.0,
        distillation__frame_weight=1.0,
        training__epochs=24, distillation__crops__kept=8, distillation__crops__lengths=1,
        distillation__crops__warped=0.0, distillation__crops__mixed=0.0, learning_rate__peak=0.02,
        learning_rate__per_batch=16,
    )  # fmt: skip
    result = train(recipe, tmp_path / "run", say=lines.append)
    distances = [row["teacher_distance"] for row in rows(result.folder)]
    # the first five epochs visit one shard, the others two, of one batch each
    assert len(distances) == result.steps == 5 + 2 * 19
    assert visits_left == [16 * result.steps]
    assert np.mean(distances[-12:]) < 0.9 * np.mean(distances[:6])
    of_frames = [row["frame_distance"] for row in rows(result.folder)]
    assert np.mean(of_frames[-12:]) < 0.9 * np.mean(of_frames[:6])
    assert any("% of it the teacher's" in line for line in lines)
    assert CropPool(result.folder / "crops", 8).numbers() == []
    checkpoint = load_checkpoint(result.model)
    assert checkpoint.header.network["channels"] == 16
    assert export_onnx(result.folder, tmp_path / "ear.onnx").worst_cosine > 0.9999


def _train(recipe: Recipe, folder: Path, resume: bool, kill_at: int | None) -> None:
    """Train, and kill this process after so many steps."""
    torch.set_num_threads(1)
    step = by_ear_trainer.ByEarTrainer._step

    def deadly(trainer: Any, *arguments: Any) -> Any:
        row = step(trainer, *arguments)
        if trainer.progress.step == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return row

    by_ear_trainer.ByEarTrainer._step = deadly  # type: ignore[method-assign, assignment]
    train(recipe, folder, resume=resume)


@pytest.mark.slow
def test_a_training_that_is_killed_goes_on_exactly(prepared: Path, teacher: Path, tmp_path: Path) -> None:
    recipe = in_loop(
        prepared,
        teacher,
        training__epochs=7,
        training__checkpoint_every=3,
        distillation__label_weight=1.0,
        distillation__neighbour_weight=1.0,
        distillation__frame_weight=0.5,
        distillation__neighbours=10,  # two batches and a half, so that there are some at a kill
        network__floor_db=40.0,
    )
    context = get_context("fork")
    for name, kills in (("whole", [None]), ("killed", [1, 11, None])):
        for number, kill_at in enumerate(kills):
            process = context.Process(target=_train, args=(recipe, tmp_path / name, number > 0, kill_at))
            process.start()
            process.join(timeout=240)
            assert process.exitcode == (0 if kill_at is None else -signal.SIGKILL)
    distances = ("teacher_distance", "neighbour_distance", "frame_distance")
    columns = ("step", "loss", *distances, "norm", "gradient_norm", "learning_rate")
    whole, killed = ([[row[c] for c in columns] for row in rows(tmp_path / name)] for name in ("whole", "killed"))
    assert len(whole) > 14 and whole == killed
    states = [load_checkpoint(tmp_path / name / "last.safetensors", GROUPS).tensors for name in ("whole", "killed")]
    assert states[0].keys() == states[1].keys()
    assert all(states[0][name].equal(states[1][name]) for name in states[0])
    assert load_checkpoint(tmp_path / "whole").hash == load_checkpoint(tmp_path / "killed").hash


def _make(recipe: Recipe, folder: Path) -> None:
    torch.set_num_threads(1)
    make_crops_of(recipe, folder)


def test_maker_and_training_may_begin_at_the_same_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pool, fsync, calls = CropPool(tmp_path / "crops", 4), os.fsync, []

    def meanwhile(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 1:  # what the first has written has no name yet
            pool.begin({"seed": 1})
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", meanwhile)
    pool.begin({"seed": 1})
    assert len(calls) == 2 and [path.name for path in pool.folder.iterdir()] == ["crops.json"]
    with pytest.raises(TrainingError, match="another seed"):
        pool.begin({"seed": 2})


@pytest.mark.slow
def test_maker_and_training_are_two_processes_and_the_maker_may_be_killed(
    prepared: Path, teacher: Path, tmp_path: Path
) -> None:
    recipe, folder = ear_recipe(prepared, teacher, training__epochs=9), tmp_path / "run"
    context = get_context("fork")
    training = context.Process(target=_train, args=(recipe, folder, False, None))
    training.start()
    most = 0

    def shards() -> set[str]:
        return {path.name for path in (folder / "crops").glob("*.safetensors")}

    makers = [context.Process(target=_make, args=(recipe, folder)) for _ in range(3)]
    for maker in makers[:2]:
        before = shards()
        seen: set[str] = set()
        maker.start()
        until = time.monotonic() + 120.0
        while len(seen) < 3 and time.monotonic() < until:
            there = shards()
            seen, most = seen | (there - before), max(most, len(there))
            time.sleep(0.01)
        assert len(seen) >= 3
        assert maker.pid is not None
        os.kill(maker.pid, signal.SIGKILL)
        maker.join()
    makers[2].start()
    for process in (training, makers[2]):  # the maker ends by itself
        process.join(timeout=240)
        assert process.exitcode == 0
    assert 0 < most <= 6
    alone = in_loop(prepared, teacher, training__epochs=9)
    one = context.Process(target=_train, args=(alone, tmp_path / "alone", False, None))  # with as many threads
    one.start()
    one.join(timeout=240)
    assert one.exitcode == 0
    assert load_checkpoint(folder).hash == load_checkpoint(tmp_path / "alone").hash  # who makes them changes nothing


@pytest.mark.slow
def test_crops_are_visited_at_most_as_often_as_asked(
    prepared: Path, teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    visited: Counter[bytes] = Counter()
    batch = EpochVisits.batch

    def counted(visits: EpochVisits, number: int) -> Any:
        given = batch(visits, number)
        if is_training[0]:
            visited.update(row.tobytes() for row in given.targets.numpy())
        return given

    is_training = [False]
    step = by_ear_trainer.ByEarTrainer._epoch

    def watched(trainer: Any) -> None:
        is_training[0] = True
        step(trainer)

    monkeypatch.setattr(EpochVisits, "batch", counted)
    monkeypatch.setattr(by_ear_trainer.ByEarTrainer, "_epoch", watched)
    train(in_loop(prepared, teacher, training__epochs=12, distillation__crops__visits=3), tmp_path / "run")
    assert len(visited) == 12 * 8
    assert max(visited.values()) == 3


@pytest.mark.slow
def test_trial_lists_judge(prepared: Path, teacher: Path, tmp_path: Path) -> None:
    audio = prepared.parent / "audio"
    files = sorted(str(path.relative_to(audio)) for path in audio.rglob("*.wav"))
    (tmp_path / "trials").mkdir()
    pairs = [(a, b) for a in files[:6] for b in files[:6] if a < b]
    lines = "".join(f"{int(Path(a).parent == Path(b).parent)} {a} {b}\n" for a, b in pairs)
    for name in ("one", "two"):
        (tmp_path / "trials" / f"{name}.txt").write_text(lines)
    recipe = in_loop(
        prepared, teacher, validation__trials=str(tmp_path / "trials"), validation__audio_root=str(audio),
        training__epochs=2,
    )  # fmt: skip
    result = train(recipe, tmp_path / "run")
    judged = rows(result.folder, "epochs")[-1]
    assert judged["lists"].keys() == {"one", "two"}
    assert judged["validation_eer"] == pytest.approx(np.mean(list(judged["lists"].values())))
    assert result.best_eer <= judged["validation_eer"]


def test_mistakes_are_all_found_at_once(prepared: Path, tmp_path: Path) -> None:
    unheard = {"of": "crop", "weight": 0, "matrix_weight": 0}
    recipe = tiny_recipe(prepared, distillation=unheard, validation__trials=str(tmp_path))
    with pytest.raises(ConfigurationError) as caught:
        check(recipe, tmp_path / "run")
    problems = "\n".join(caught.value.problems)
    for said in (
        "distillation.teacher: somebody must say",
        "distillation.weight: is 0, as are matrix_weight and neighbour_weight",
        "data.sampler.kind: has no place with distillation.of='crop', crops are drawn one by one; let it be 'shuffled'",
        "training.batches_per_epoch: has no place",
        "there are no trial lists",
    ):
        assert said in problems


def test_frames_are_asked_for_where_they_are_told(prepared: Path, model_path: Path, tmp_path: Path) -> None:
    recipe = ear_recipe(prepared, model_path, network={"kind": "resnet34"}, distillation__frame_weight=1.0)
    with pytest.raises(ConfigurationError) as caught:
        check(recipe, tmp_path / "run")
    assert caught.value.problems == (
        f"distillation.frame_weight: {model_path.name} does not tell what it pools over time, as CAM++'s published "
        "state dictionary (.pt) does; let it be 0",
        "distillation.frame_weight: resnet34 does not tell what it pools over time, as ecapa_tdnn and campplus do; let "
        "it be 0",
    )


def test_crops_without_frames_are_not_for_a_training_with_them(prepared: Path, teacher: Path, tmp_path: Path) -> None:
    make_crops_of(ear_recipe(prepared, teacher), tmp_path / "run", 1)
    with pytest.raises(TrainingError, match=r"made with another distillation\.frame_weight; remove the folder"):
        make_crops_of(ear_recipe(prepared, teacher, distillation__frame_weight=1.0), tmp_path / "run", 1)


def test_other_crops_than_those_of_the_recipe_are_refused(prepared: Path, teacher: Path, tmp_path: Path) -> None:
    make_crops_of(ear_recipe(prepared, teacher), tmp_path / "run", 1)
    with pytest.raises(TrainingError, match=r"made with another distillation\.crops\.coded and seed"):
        make_crops_of(ear_recipe(prepared, teacher, seed=9, distillation__crops__coded=0.1), tmp_path / "run", 1)


def test_the_verb_makes_crops(
    prepared: Path, teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from sound_groove.recipe.loading import dump_recipe

    path = tmp_path / "recipe.yaml"
    path.write_text(dump_recipe(ear_recipe(prepared, teacher)))
    assert main(["crops", str(path), "--out", str(tmp_path / "run"), "--shards", "2"]) == 0
    printed = capsys.readouterr()
    assert printed.out == "2\n" and "shard 1: 8 crops in" in printed.err
    assert main(["train", str(path), "--out", str(tmp_path / "run"), "--check"]) == 0
    assert "crops      24 in 3 shards of 8, at most 6 at a time" in capsys.readouterr().err


@pytest.mark.slow
def test_what_was_trained_starts_another_training(prepared: Path, teacher: Path, tmp_path: Path) -> None:
    configuration = NetworkConfiguration.model_validate(TINY_NETWORK)
    with torch.random.fork_rng(devices=[]):
        network = build_network(configuration)
    tensors = {NETWORK + name: tensor for name, tensor in network.state_dict().items()}
    save_checkpoint(tmp_path / "base.safetensors", tensors, CheckpointHeader("base", configuration.model_dump()))
    recipe = in_loop(
        prepared, teacher, training__start_from=str(tmp_path / "base.safetensors"), training__epochs=1,
        network__floor_db=40.0, learning_rate__peak=1e-9, learning_rate__final=1e-9, learning_rate__warmup_epochs=0,
        training__moving_average=0.0, distillation__label_weight=1.0,
    )  # fmt: skip
    trained = load_checkpoint(train(recipe, tmp_path / "run").model)
    for name, tensor in network.state_dict().items():
        if name.endswith("conv.weight"):
            torch.testing.assert_close(trained.tensors[NETWORK + name], tensor)
    assert trained.header.training["start_from"]["name"] == "base"
    # The new head begins at what the network that it starts from says of the speakers, two files of each.
    plan = plan_by_ear(recipe, run_folder(recipe, tmp_path / "again"))
    encoder = SpeakerEncoder.of_network(network.eval(), ModelIdentity("base", ""), 12, 80, floor_db=40.0)
    heard = [encoder.embed(utterance.paths[0], keep_pauses=True) for utterance in plan.utterances]
    means = np.stack([np.mean([heard[row] for row in np.flatnonzero(plan.labels == c)], axis=0) for c in range(4)])
    (head,) = load_checkpoint(tmp_path / "run" / "last.safetensors", (HEAD,)).group(HEAD).values()
    first = torch.nn.functional.normalize(head[:: len(head) // 4]).numpy()
    assert (first * means / np.linalg.norm(means, axis=1, keepdims=True)).sum(axis=1).min() > 0.9999
