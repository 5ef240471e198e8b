"""An imported model in fewer bits."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import soundfile
import torch
from onnx import TensorProto

from lively_weights import lively
from sound_groove.cli import main
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.errors import CheckpointError, UsageError
from sound_groove.export.quantization import largest_pair
from sound_groove.export.smaller_file import export_smaller
from sound_groove.importing.importer import import_model
from sound_groove.networks.architectures import build_network
from sound_groove.recipe.network import NetworkConfiguration
from sound_groove.synthesis.voices import made_up_speaker, speak


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small ResNet that was imported, beside a folder of speech."""
    folder = tmp_path_factory.mktemp("imported")
    (folder / "speech").mkdir()
    for number in range(12):
        soundfile.write(folder / "speech" / f"{number}.wav", speak(made_up_speaker(3, number), number, 2.0), 16000)
    network = lively(build_network(NetworkConfiguration(kind="resnet34", channels=8, embedding_size=16))).float()
    torch.save(network.state_dict(), folder / "r.pt")
    return import_model(folder / "r.pt", folder / "r.onnx", pinned=True).file


@pytest.mark.slow
def test_an_imported_model_is_written_in_halves(imported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = imported.with_name("half.onnx")
    assert main(["export", str(imported), "--precision", "fp16", "--out", str(out)]) == 0
    whole, half = SpeakerEncoder.load(imported), SpeakerEncoder.load(out)
    assert half.identity == whole.identity and half.proof is not None
    voice = speak(made_up_speaker(4, 0), 0, 3.0)
    assert float(whole.embed(voice) @ half.embed(voice)) > 1.0 - 1e-4
    assert np.abs(whole.embed(voice) - half.embed(voice)).max() > 1e-6  # the weights did lose something
    assert out.stat().st_size < 0.8 * imported.stat().st_size
    with pytest.raises(CheckpointError, match="is in fp16 already"):
        export_smaller(out, imported.with_name("no.onnx"), precision="fp16")
    with pytest.raises(UsageError, match="is in ONNX already"):
        export_smaller(imported, imported.with_name("no.onnx"))
    with pytest.raises(UsageError, match="needs speech to calibrate on"):
        export_smaller(imported, imported.with_name("no.onnx"), precision="int8")


@pytest.mark.slow
def test_an_imported_model_is_written_in_eight_bits(imported: Path) -> None:
    out = imported.with_name("int8.onnx")
    done = export_smaller(imported, out, precision="int8", calibrate_on=imported.parent / "speech")
    model = onnx.load(out)
    eight = {tensor.name for tensor in model.graph.initializer if tensor.data_type == TensorProto.INT8}
    weights = [tensor for tensor in model.graph.initializer if tensor.name in eight and len(tensor.dims) == 4]
    assert len(weights) == 36  # all convolutions
    assert not any("front_end" in name or "seg_1" in name for name in eight)
    assert 16_000 < largest_pair(model) <= 2 * 255 * 64
    assert done.worst_cosine >= 0.995 and done.bytes < 0.7 * imported.stat().st_size
    voice = speak(made_up_speaker(4, 0), 0, 3.0)
    whole, eighth = SpeakerEncoder.load(imported), SpeakerEncoder.load(out)
    assert 0.99 < float(whole.embed(voice) @ eighth.embed(voice)) < 1.0 - 1e-6
