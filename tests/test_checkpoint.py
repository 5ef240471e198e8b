"""Model files: whole or not there, bit for bit, and never a traceback from a bad one."""

import errno
import hashlib
import json
import os
import pickle
import random
import resource
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from sound_groove.errors import CheckpointError, OutputError
from sound_groove.networks.architectures import build_network
from sound_groove.networks.checkpoint import (
    describe_checkpoint,
    find_checkpoint,
    load_checkpoint,
    restore_network,
    save_checkpoint,
)
from sound_groove.networks.checkpoint_header import CheckpointHeader
from sound_groove.networks.tensor_groups import GROUPS, network_hash
from sound_groove.recipe.network import NetworkConfiguration
from sound_groove.scoring.calibration import ScoreMap

HEADER = CheckpointHeader("a name, 名字", {"channels": 16}, None, {"epoch": 3, "validation_eer": 0.1})


def some_tensors() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(4, 5, generator=generator)
    return {
        "network.weight": weight,
        "network.tied": weight,
        "network.transposed": weight.t(),
        "network.row": weight[1:2],
        "network.column": weight[:, 2],
        "network.half": torch.randn(3, generator=generator).bfloat16(),
        "network.count": torch.tensor(7),
        "network.nothing": torch.zeros(0, 3),
        "head.weight": torch.randn(2, 3, generator=generator),
        "optimizer.0.step": torch.tensor(3.0),
        "optimizer.0.bits": torch.tensor([1, 255], dtype=torch.uint8),
    }


def model_with(path: Path, target: Path, header: dict[str, Any] | None = None, **tensors: torch.Tensor | None) -> Path:
    """The model of `path` written to `target` with some header fields and tensors replaced (None: left out)."""
    checkpoint = load_checkpoint(path)
    changed = {**checkpoint.tensors, **{f"network.{name.replace('__', '.')}": t for name, t in tensors.items()}}
    kept = {name: tensor for name, tensor in changed.items() if tensor is not None}
    save_checkpoint(target, kept, replace(checkpoint.header, **(header or {})))
    return target


def test_a_model_that_training_replaces_while_it_is_read_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, later = tmp_path / "last.safetensors", tmp_path / "later.safetensors"
    save_checkpoint(path, some_tensors(), HEADER)
    save_checkpoint(later, {**some_tensors(), "network.weight": torch.ones(4, 3)}, HEADER)
    expected = load_checkpoint(later).hash
    opened = torch.UntypedStorage.from_file

    def replaced_first(*words: Any, **named: Any) -> Any:  # the header is read already
        if later.exists():
            later.replace(path)
        return opened(*words, **named)

    monkeypatch.setattr(torch.UntypedStorage, "from_file", staticmethod(replaced_first))
    assert load_checkpoint(path).hash == expected
    assert not later.exists()


def test_everything_comes_back_bit_for_bit(tmp_path: Path) -> None:
    tensors = some_tensors()
    save_checkpoint(tmp_path / "m.safetensors", tensors, HEADER)
    loaded = load_checkpoint(tmp_path / "m.safetensors", ("head.", "optimizer."))
    assert loaded.header == HEADER
    assert loaded.tensors.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert loaded.tensors[name].dtype == tensor.dtype
        assert torch.equal(loaded.tensors[name], tensor), name
    assert loaded.group("optimizer.").keys() == {"0.step", "0.bits"}


def test_only_the_groups_asked_for_are_kept_and_the_network_always(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "m.safetensors", some_tensors(), HEADER)
    assert all(name.startswith("network.") for name in load_checkpoint(tmp_path / "m.safetensors").tensors)
    groups = {name.split(".")[0] for name in load_checkpoint(tmp_path / "m.safetensors", ("head.",)).tensors}
    assert groups == {"network", "head"}


def test_the_same_model_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in "ab":
        save_checkpoint(tmp_path / name, some_tensors(), HEADER)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_hash_is_sha256_over_names_types_shapes_and_bytes() -> None:
    tensors = {"network.b": torch.tensor([1, 2], dtype=torch.uint8), "network.a": torch.tensor(1.0)}
    by_hand = b"network.a\0torch.float32\0()\0" + b"\x00\x00\x80\x3f" + b"network.b\0torch.uint8\0(2,)\0" + b"\x01\x02"
    assert network_hash(tensors) == hashlib.sha256(by_hand).hexdigest()


def test_hash_names_the_weights_and_not_the_file(tmp_path: Path, model_path: Path) -> None:
    original = load_checkpoint(model_path).hash
    header: dict[str, Any] = {"score_map": None, "name": "other", "training": {}}
    path = model_with(model_path, tmp_path / "renamed.safetensors", header)
    assert load_checkpoint(path).hash == original
    with_state = {**load_checkpoint(path).tensors, "optimizer.0.step": torch.tensor(1.0)}
    save_checkpoint(path, with_state, replace(HEADER, network=load_checkpoint(path).header.network))
    assert load_checkpoint(path, ("optimizer.",)).hash == original
    bias = load_checkpoint(model_path).tensors["network.embedding.bias"].clone()
    bias[0] = torch.nextafter(bias[0], torch.tensor(9.0))  # one bit
    assert load_checkpoint(model_with(model_path, path, embedding__bias=bias)).hash != original


def test_loaded_weights_do_not_change_when_the_file_is_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_checkpoint(path, some_tensors(), HEADER)
    loaded = load_checkpoint(path)
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size - 4 * 20 * 4)
        file.write(b"\xff" * (4 * 20 * 4))
    assert network_hash(loaded.tensors) == loaded.hash


def test_a_full_disk_leaves_the_earlier_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_checkpoint(path, some_tensors(), HEADER)
    before = path.read_bytes()
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))  # the system refuses to write more than this
    try:
        with pytest.raises(OutputError, match=r"m\.safetensors: cannot write the model file: "):
            save_checkpoint(path, some_tensors(), replace(HEADER, name="another"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["m.safetensors"]


def test_the_bytes_reach_the_disk_before_the_name_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    sync, rename = os.fsync, Path.replace

    def record_sync(descriptor: int) -> None:
        events.append("folder" if Path(f"/proc/self/fd/{descriptor}").resolve().is_dir() else "file")
        sync(descriptor)

    def record_rename(self: Path, target: Path) -> Path:
        events.append("rename")
        assert self.parent == target.parent
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", record_sync)
    monkeypatch.setattr(Path, "replace", record_rename)
    save_checkpoint(tmp_path / "m.safetensors", some_tensors(), HEADER)
    assert events == ["file", "rename", "folder"]


def test_a_failing_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left on device"):
        save_checkpoint(tmp_path / "m.safetensors", some_tensors(), HEADER)
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_saved_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    with pytest.raises(CheckpointError, match="'weight' belongs to none of"):
        save_checkpoint(path, {"weight": torch.zeros(1)}, HEADER)
    with pytest.raises(CheckpointError, match="no network tensor"):
        save_checkpoint(path, {"head.weight": torch.zeros(1)}, HEADER)
    with pytest.raises(CheckpointError, match="cannot be written as JSON"):
        save_checkpoint(path, some_tensors(), replace(HEADER, training={"eer": float("nan")}))
    with pytest.raises(OutputError, match="No such file or directory"):
        save_checkpoint(tmp_path / "nowhere" / "m.safetensors", some_tensors(), HEADER)
    assert not list(tmp_path.iterdir())


class Bomb:
    """Creates a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.target),)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    bomb = Bomb(tmp_path / "exploded")
    torch.save({"weight": bomb}, tmp_path / "new.pt")
    torch.save({"weight": bomb}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    (tmp_path / "plain.pkl").write_bytes(pickle.dumps(bomb))
    for name in ("new.pt", "old.pt", "plain.pkl"):
        with pytest.raises(CheckpointError, match=f"{name}: is a pickled PyTorch file; nothing is unpickled"):
            load_checkpoint(tmp_path / name)
    assert not (tmp_path / "exploded").exists()


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_checkpoint(path, {"network.weight": torch.ones(4)}, HEADER)
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(CheckpointError, match=r"m\.safetensors: is (empty|damaged)"):
            load_checkpoint(path)
    path.write_bytes(content + b"\0")
    with pytest.raises(CheckpointError, match="is damaged"):
        load_checkpoint(path)


def test_damaged_bytes_in_the_header_never_give_another_error(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_checkpoint(path, {"network.weight": torch.ones(4)}, HEADER)
    content = path.read_bytes()
    draw = random.Random(0)
    refused = 0
    for _ in range(500):
        damaged = bytearray(content)
        for _ in range(draw.randint(1, 3)):
            damaged[draw.randrange(len(content))] = draw.randrange(256)
        path.write_bytes(damaged)
        try:
            load_checkpoint(path)
        except CheckpointError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 300


def test_files_of_another_kind_are_named(tmp_path: Path) -> None:
    cases: dict[str, tuple[bytes, str]] = {
        "empty": (b"", "is empty"),
        "pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "is a Git LFS pointer"),
        "audio": (b"RIFF\0\0\0\0WAVEfmt " + bytes(100), "is damaged, truncated or not a safetensors file"),
        "text": (b"a: 1\n" * 10, "is damaged, truncated or not a safetensors file"),
    }
    for name, (content, expected) in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CheckpointError, match=f"{name}: {expected}"):
            load_checkpoint(tmp_path / name)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CheckpointError, match="is not a regular file"):
        load_checkpoint(tmp_path / "pipe")


def test_foreign_and_damaged_headers_are_refused(tmp_path: Path) -> None:
    good = {
        "format": "sound-groove checkpoint",
        "version": 1,
        "name": "n",
        "network": {},
        "score_map": None,
        "training": {},
    }
    cases: list[tuple[dict[str, str] | None, str]] = [
        (None, "not one that Sound-Groove wrote"),
        ({"format": "pt"}, "not one that Sound-Groove wrote"),
        ({"sound_groove": "{"}, "it is no JSON"),
        ({"sound_groove": "[" * 100_000}, "more than 50 deep"),
        ({"sound_groove": "[]"}, "not that of a Sound-Groove model"),
        ({"sound_groove": json.dumps({**good, "version": 2})}, "format version 2, .* upgrade"),
        ({"sound_groove": json.dumps({**good, "network": []})}, "'network' is missing or of the wrong type"),
        ({"sound_groove": json.dumps({**good, "name": None})}, "'name' is missing or of the wrong type"),
        ({"sound_groove": json.dumps({k: v for k, v in good.items() if k != "training"})}, "'training' is missing"),
    ]
    for metadata, expected in cases:
        save_file({"network.weight": torch.ones(1)}, tmp_path / "m.safetensors", metadata)
        with pytest.raises(CheckpointError, match=expected):
            load_checkpoint(tmp_path / "m.safetensors")
    save_file({"weight": torch.ones(1)}, tmp_path / "m.safetensors", {"sound_groove": json.dumps(good)})
    with pytest.raises(CheckpointError, match="no network weights"):
        load_checkpoint(tmp_path / "m.safetensors")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite_are_refused(tmp_path: Path, model_path: Path, value: float) -> None:
    bias = load_checkpoint(model_path).tensors["network.embedding.bias"].clone()
    bias[3] = value
    path = model_with(model_path, tmp_path / "m.safetensors", embedding__bias=bias)
    with pytest.raises(CheckpointError, match=r"'network\.embedding\.bias' holds values that are not finite"):
        load_checkpoint(path)


def test_weights_of_another_network_are_refused(tmp_path: Path, model_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    cases: list[tuple[dict[str, torch.Tensor | None], str]] = [
        ({"embedding__bias": torch.zeros(13)}, r"'embedding\.bias' has shape \(13,\) where \(12,\) is expected"),
        ({"embedding__bias": None}, r"'embedding\.bias' is missing"),
        ({"surplus": torch.zeros(1)}, "'surplus' is unknown to it"),
    ]
    for tensors, expected in cases:
        checkpoint = load_checkpoint(model_with(model_path, path, None, **tensors))
        with pytest.raises(CheckpointError, match=f"its weights are not those of its network: {expected}"):
            restore_network(checkpoint)


def test_invalid_network_configurations_are_refused(tmp_path: Path, model_path: Path) -> None:
    cases: list[tuple[dict[str, object], str]] = [
        ({"architecture": "ecapa_tdn"}, "did you mean 'ecapa_tdnn'"),
        ({"channels": "many"}, "its network configuration is not valid .channels: "),
        ({"chanels": 16}, "its network configuration is not valid .chanels: "),
    ]
    for network, expected in cases:
        path = model_with(model_path, tmp_path / "m.safetensors", {"network": network})
        with pytest.raises(CheckpointError, match=expected) as caught:
            restore_network(load_checkpoint(path))
        assert "\n" not in str(caught.value)


def test_a_restored_network_computes_what_the_saved_one_did(tmp_path: Path) -> None:
    configuration = NetworkConfiguration(channels=16, embedding_size=12)
    with torch.random.fork_rng(devices=[]):
        network = build_network(configuration).eval()
    tensors = {f"network.{name}": tensor for name, tensor in network.state_dict().items()}
    save_checkpoint(tmp_path / "m.safetensors", tensors, CheckpointHeader("n", configuration.model_dump()))
    before = torch.random.get_rng_state()
    restored = restore_network(load_checkpoint(tmp_path / "m.safetensors"))
    assert torch.equal(before, torch.random.get_rng_state())  # building draws nothing from the caller's generator
    assert not restored.training
    features = torch.linspace(-1, 1, 2 * 60 * 80).reshape(2, 60, 80)
    with torch.inference_mode():
        assert torch.equal(restored(features, None), network(features, None))


def test_a_damaged_score_map_is_refused(tmp_path: Path, model_path: Path) -> None:
    assert load_checkpoint(model_path).score_map == ScoreMap(10.0, -3.0, "nothing: made up")
    for score_map in ({}, {"scale": "x", "offset": 0, "fitted_on": ""}, {"scale": -1.0, "offset": 0, "fitted_on": ""}):
        path = model_with(model_path, tmp_path / "m.safetensors", {"score_map": score_map})
        with pytest.raises(CheckpointError, match="its score map is damaged"):
            _ = load_checkpoint(path).score_map


def test_a_run_folder_means_its_best_model_then_its_last(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="the folder holds neither best"):
        find_checkpoint(tmp_path)
    (tmp_path / "last.safetensors").touch()
    assert find_checkpoint(tmp_path).name == "last.safetensors"
    (tmp_path / "best.safetensors").touch()
    assert find_checkpoint(tmp_path).name == "best.safetensors"
    assert find_checkpoint(tmp_path / "last.safetensors").name == "last.safetensors"
    with pytest.raises(CheckpointError, match="no such model file or run folder"):
        find_checkpoint(tmp_path / "nothing")


def test_the_facts_of_a_model_are_json_and_count_its_parameters(model_path: Path) -> None:
    facts = describe_checkpoint(load_checkpoint(model_path))
    json.dumps(facts, allow_nan=False)
    # every tensor but the batch norms' running statistics and the centre
    besides = ("running_", "num_batches", "centre.")
    weights = {k: t for k, t in load_file(model_path).items() if not any(word in k for word in besides)}
    assert facts["parameters"] == sum(tensor.numel() for tensor in weights.values())
    assert (facts["name"], facts["embedding_size"], facts["training"]["epoch"]) == ("random", 12, 3)
    assert facts["centred"] is True


def with_centre(path: Path, target: Path, centre: torch.Tensor) -> Path:
    checkpoint = load_checkpoint(path)
    save_checkpoint(target, {**checkpoint.tensors, "centre.mean": centre}, checkpoint.header)
    return target


def test_a_centre_belongs_to_what_a_model_is(tmp_path: Path, model_path: Path) -> None:
    centre = torch.linspace(-0.1, 0.1, 12)
    centred = load_checkpoint(with_centre(model_path, tmp_path / "m.safetensors", centre))
    tensors = {name: tensor for name, tensor in load_checkpoint(model_path).tensors.items() if name != "centre.mean"}
    save_checkpoint(tmp_path / "p.safetensors", tensors, load_checkpoint(model_path).header)
    plain = load_checkpoint(tmp_path / "p.safetensors")
    assert plain.centre is None and describe_checkpoint(plain)["centred"] is False
    assert describe_checkpoint(centred)["centred"] is True
    assert centred.centre is not None and torch.equal(torch.from_numpy(centred.centre), centre)
    assert centred.hash != plain.hash  # it gives other embeddings
    other = load_checkpoint(with_centre(model_path, tmp_path / "n.safetensors", 2 * centre))
    assert other.hash not in (centred.hash, plain.hash)


def test_a_damaged_centre_is_refused(tmp_path: Path, model_path: Path) -> None:
    with pytest.raises(CheckpointError, match="its centre is not one of its embeddings"):
        _ = load_checkpoint(with_centre(model_path, tmp_path / "m.safetensors", torch.zeros(5))).centre
    with pytest.raises(CheckpointError, match=r"'centre\.mean' holds values that are not finite"):
        load_checkpoint(with_centre(model_path, tmp_path / "n.safetensors", torch.full((12,), torch.nan)))


def test_bits_that_turned_are_noticed_where_they_leave_finite_weights_and_sound_json(tmp_path: Path) -> None:
    path, header = tmp_path / "m.safetensors", CheckpointHeader("modelname", {"embedding_size": 3}, training={"at": 4})
    tensors = {f"{group}a": torch.arange(1.0, 9.0) * (1 + number) for number, group in enumerate(GROUPS)}
    save_checkpoint(path, tensors, header)
    whole, sound = path.read_bytes(), load_checkpoint(path, GROUPS)
    assert sound.is_checked
    assert sound.hash == network_hash({name: tensors[name] for name in ("network.a", "centre.a")})
    for name, tensor in tensors.items():
        damaged = bytearray(whole)
        damaged[whole.index(tensor.numpy().tobytes())] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match=r"is damaged: .* is not what was written; restore it from a copy"):
            load_checkpoint(path, GROUPS)
        if not name.startswith(("network.", "centre.")):
            load_checkpoint(path)  # what is not read is not looked at
    for before, after in ((b'\\"at\\": 4', b'\\"at\\": 5'), (b"modelname", b"modelmame")):
        assert whole.count(before) == 1
        path.write_bytes(whole.replace(before, after))
        with pytest.raises(CheckpointError, match="its header is damaged: it is not what was written"):
            load_checkpoint(path)
    path.write_bytes(whole.replace(b"checksums", b"checkrums"))  # as a file of an earlier version, which has none
    assert not load_checkpoint(path, GROUPS).is_checked
