"""A model as a .safetensors file to be given away."""

import doctest
from pathlib import Path

import pytest
import torch

from sound_groove.cli import main
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.errors import OutputError, UsageError
from sound_groove.export import shared_facts
from sound_groove.export.network_file import export_network
from sound_groove.export.precision import SMALLEST_MATRIX
from sound_groove.networks.checkpoint import load_checkpoint
from sound_groove.networks.tensor_groups import CENTRE, GROUPS, HEAD, NETWORK


def test_it_holds_the_network_and_nothing_of_its_training(tiny_run: Path, tmp_path: Path) -> None:
    done = export_network(tiny_run, tmp_path / "given.safetensors", data="made-up voices", licence="CC0")
    whole, given = load_checkpoint(tiny_run, GROUPS), load_checkpoint(done.file, GROUPS)
    assert whole.group(HEAD) and not given.group(HEAD)
    assert given.hash == done.hash == whole.hash and done.bytes == done.file.stat().st_size
    assert {name for name in given.tensors if not name.startswith((NETWORK, CENTRE))} == set()
    assert (given.header.training["data"], given.header.training["licence"]) == ("made-up voices", "CC0")
    assert given.trained_speakers == whole.trained_speakers and given.score_map == whole.score_map
    assert "progress" in whole.header.training and "progress" not in given.header.training
    prepared = Path(whole.header.training["recipe"]["data"]["prepared"])
    assert prepared.is_absolute() and str(prepared.parent).encode() not in done.file.read_bytes()
    assert given.header.training["recipe"]["data"]["prepared"] == prepared.name
    with pytest.raises(OutputError, match="is there already"):
        export_network(tiny_run, done.file)


def test_halves_are_read_as_the_whole_model(tiny_run: Path, tmp_path: Path) -> None:
    done = export_network(tiny_run, tmp_path / "half.safetensors", precision="fp16")
    whole, half = load_checkpoint(tiny_run), load_checkpoint(done.file)
    assert done.hash == half.hash != whole.hash
    for name, tensor in whole.tensors.items():
        halved = tensor.is_floating_point() and tensor.numel() >= SMALLEST_MATRIX
        assert half.tensors[name].dtype == (torch.float16 if halved else tensor.dtype)
        assert torch.allclose(half.tensors[name].to(tensor.dtype), tensor, rtol=1e-3, atol=1e-6)
    assert 0.9999 <= done.worst_cosine <= 1.00001
    assert SpeakerEncoder.load(done.file).identity.hash == done.hash


def test_what_it_cannot_do_is_a_sentence(tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match=r"must end in \.safetensors"):
        export_network(tiny_run, tmp_path / "model.bin")
    with pytest.raises(UsageError, match="int8 goes with --format onnx"):
        export_network(tiny_run, tmp_path / "model.safetensors", precision="int8")
    assert main(["export", str(tiny_run), "--format", "safetensors", "--precision", "int8"]) == 2
    assert "--precision int8 goes with --format onnx, and the format is safetensors" in capsys.readouterr().err
    assert not any(tmp_path.iterdir())


def test_the_example_in_the_docstring_holds() -> None:
    assert doctest.testmod(shared_facts).failed == 0
