"""The two files of the model in the package: what one lacks is in the other, and nothing else will do."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from costs import costs
from small_model import spoil, write_model
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.errors import CheckpointError, OutputError
from sound_groove.export.network_file import export_network
from sound_groove.export.package_files import write_package_files
from sound_groove.networks.checkpoint import load_checkpoint
from sound_groove.pretrained import PRETRAINED, UNLISTED
from sound_groove.synthesis.voices import made_up_speaker, speak

LAYER, STORED = "network.layer.conv.weight", "network.layer.product.weight.float16"


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("half")
    write_model(folder / "whole.safetensors")
    return export_network(folder / "whole.safetensors", folder / "half.safetensors", precision="fp16").file


@pytest.fixture(scope="module")
@costs("slow")
def files(half: Path) -> tuple[Path, Path]:
    return write_package_files(half, half.parent, name="random")


def test_the_two_are_the_model_bit_for_bit(half: Path, files: tuple[Path, Path]) -> None:
    exported, rest = files
    assert (exported.name, rest.name) == ("random.onnx", "random.safetensors")
    whole, read = load_checkpoint(half), load_checkpoint(rest)
    assert (whole.header.name, SpeakerEncoder.load(exported, threads=1).identity.name) == ("random", "random")
    assert list(read.tensors) == list(whole.tensors) and read.hash == whole.hash and read.header == whole.header
    for name, tensor in whole.tensors.items():
        assert read.tensors[name].dtype == tensor.dtype and torch.equal(read.tensors[name], tensor), name
    in_halves = {name for name, tensor in whole.tensors.items() if tensor.dtype == torch.float16}
    # Of a narrow network few matrices are large enough; a convolution over frames and one in two parts are among them.
    assert {"network.layer.conv.weight", "network.pooling.hidden.weight", "network.pooling.scores.weight"} <= in_halves
    assert not in_halves & load_file(rest).keys()
    saved = half.stat().st_size - rest.stat().st_size
    assert saved > 0.9 * sum(whole.tensors[name].nbytes for name in in_halves)


@pytest.mark.slow
def test_another_model_is_written_as_that_of_the_package_and_read_as_unlisted(half: Path, tmp_path: Path) -> None:
    for file in write_package_files(half, tmp_path):
        assert file.stem == PRETRAINED
        said = SpeakerEncoder.load(file, threads=1).identity
        assert (said.name, said.hash) == (UNLISTED, load_checkpoint(half).hash)
    with safe_open(str(file), framework="numpy") as tensors:
        assert json.loads(tensors.metadata()["sound_groove"])["name"] == PRETRAINED
    stored = {prop.key: prop.value for prop in onnx.load(str(file.with_suffix(".onnx"))).metadata_props}
    assert stored["name"] == PRETRAINED  # what it is called once its sum is listed


def test_both_give_the_embeddings_of_the_model(half: Path, files: tuple[Path, Path]) -> None:
    voices = [speak(made_up_speaker(3, number), 0, 1.0 + 2 * number) for number in range(3)]
    of_half, of_onnx, of_rest = (SpeakerEncoder.load(path, threads=1) for path in (half, *files))
    assert of_half.identity == of_onnx.identity == of_rest.identity
    assert of_half.score_map == of_onnx.score_map == of_rest.score_map
    assert np.array_equal(of_half.embed(voices), of_rest.embed(voices))
    assert (of_half.embed(voices) * of_onnx.embed(voices)).sum(axis=1).min() > 0.999999


def test_without_the_other_file_or_beside_a_wrong_one_it_is_refused(files: tuple[Path, Path], tmp_path: Path) -> None:
    exported, rest = files
    alone = Path(shutil.copy(rest, tmp_path / rest.name))
    with pytest.raises(CheckpointError, match=r"its matrices are in random\.onnx, which must lie beside it"):
        load_checkpoint(alone)
    beside = alone.with_suffix(".onnx")
    for content in (b"no graph", b"\xff\xff\xff", onnx.ModelProto().SerializeToString()):
        beside.write_bytes(content)
        with pytest.raises(CheckpointError, match=r"what lies beside it in random\.onnx are not its matrices"):
            load_checkpoint(alone)
    graph = onnx.load(str(exported))
    spoil(graph, "pooling.scores.weight.float16")
    onnx.save(graph, str(beside))
    with pytest.raises(CheckpointError, match=r"is damaged: what it holds of 'network' is not what was written"):
        load_checkpoint(alone)


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        f'{{"{LAYER}": 1}}',
        f'{{"{LAYER}": {{"parts": []}}}}',
        f'{{"{LAYER}": {{"parts": ["{STORED}"], "shape": [7], "axes": [0]}}}}',
        f'{{"{LAYER}": {{"parts": ["{STORED}"], "shape": [-1], "axes": [1]}}}}',
        "no JSON",
    ],
)
def test_what_it_says_of_its_matrices_is_not_believed(files: tuple[Path, Path], tmp_path: Path, text: str) -> None:
    exported, rest = files
    shutil.copy(exported, tmp_path / exported.name)
    with safe_open(rest, framework="pt") as file:
        metadata = file.metadata()
    assert json.loads(metadata["matrices"])[LAYER]["axes"] == [0, 2, 1]
    save_file(load_file(rest), tmp_path / rest.name, metadata=metadata | {"matrices": text})
    with pytest.raises(CheckpointError, match="are not its matrices"):
        load_checkpoint(tmp_path / rest.name)


def test_what_it_cannot_do_is_a_sentence(half: Path, files: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="is there already"):
        write_package_files(half, half.parent, name="random")
    with pytest.raises(CheckpointError, match="is not in halves; export it with --precision fp16 first"):
        write_package_files(half.parent / "whole.safetensors", tmp_path)
    assert not any(tmp_path.iterdir())
