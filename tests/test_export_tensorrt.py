"""TensorRT engines, as far as can be tested without a GPU: the graphs for real, the calls on a stand-in.

`tensorrt_stand_in` has the names of the documented API and runs the graph on the CPU. Whether TensorRT itself accepts
the graph, and what its kernels give, is not tested here.
"""

import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import tensorrt_stand_in
from costs import costs
from sound_groove.cli import main
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.errors import CheckpointError, MissingExtraError, OutputError, UsageError
from sound_groove.export import tensorrt_file
from sound_groove.export.tensorrt_file import InputSizes, export_tensorrt, graph_of
from sound_groove.networks.checkpoint import load_checkpoint
from sound_groove.synthesis.voices import made_up_speaker, speak


class Stream:
    """A CUDA stream, in the stand-in's world."""

    cuda_stream = 77

    def wait_stream(self, other: object) -> None:
        pass

    def synchronize(self) -> None:
        tensorrt_stand_in.CALLS.append(("synchronize",))


@pytest.fixture(scope="module")
@costs("slow")
def graphs(tiny_run: Path) -> dict[str, bytes]:
    """The graph in each precision: tracing takes most of the time of an export."""
    checkpoint = load_checkpoint(tiny_run)
    return {"fp32": graph_of(checkpoint, "fp32"), "fp16": graph_of(checkpoint, "fp16")}


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch, graphs: dict[str, bytes]) -> list[tuple[object, ...]]:
    """TensorRT and a GPU to all appearance; what was asked of the one."""
    monkeypatch.setattr(tensorrt_file, "graph_of", lambda checkpoint, precision: graphs[precision])
    monkeypatch.setitem(sys.modules, "tensorrt", tensorrt_stand_in)
    monkeypatch.setattr(tensorrt_stand_in, "__spec__", object(), raising=False)  # what find_spec looks at
    monkeypatch.setattr(tensorrt_file, "_require_gpu", lambda: None)
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    monkeypatch.setattr(tensorrt_file, "DEVICE", "cpu")
    tensorrt_stand_in.CALLS.clear()
    return tensorrt_stand_in.CALLS


def test_without_the_package_one_sentence_says_how_to_get_it(
    tiny_run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(MissingExtraError, match=r"pip install --editable '\.\[tensorrt\]'"):
        export_tensorrt(tiny_run)
    assert main(["export", str(tiny_run), "--format", "tensorrt"]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == (
        "error: Exporting for TensorRT needs the 'tensorrt' extra: pip install --editable '.[tensorrt]'"
    )


def test_without_a_gpu_it_is_refused(tiny_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", tensorrt_stand_in)
    monkeypatch.setattr(tensorrt_stand_in, "__spec__", object(), raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match="torch sees no NVIDIA GPU here"):
        export_tensorrt(tiny_run)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_graph_has_the_precision_and_gives_the_embeddings(
    tiny_run: Path, graphs: dict[str, bytes], precision: str
) -> None:
    graph = graphs[precision]
    proto = onnx.load_from_string(graph)
    typed = onnx.shape_inference.infer_shapes(proto)
    types = {value.name: value.type.tensor_type.elem_type for value in typed.graph.value_info}
    convolved = {types[node.output[0]] for node in proto.graph.node if node.op_type == "Conv"}
    assert convolved == {onnx.TensorProto.FLOAT16 if precision == "fp16" else onnx.TensorProto.FLOAT}
    for value in (*proto.graph.input, *proto.graph.output):
        assert value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    voices = np.stack([speak(made_up_speaker(9, number), 1, 3.3) for number in range(2)])
    found = onnxruntime.InferenceSession(graph).run(None, {"waveform": voices})[0]
    cosines = (found * SpeakerEncoder.load(tiny_run).embed(list(voices))).sum(axis=1)
    assert cosines.min() > (0.999 if precision == "fp16" else 0.99999)


def test_the_engine_is_built_for_the_sizes_checked_and_written(
    tiny_run: Path, tmp_path: Path, stand_in: list[tuple[object, ...]]
) -> None:
    sizes = InputSizes(largest_batch=2, longest_s=10.0)
    done = export_tensorrt(tiny_run, tmp_path / "voice.engine", sizes=sizes)
    assert ("create_network", 2) in stand_in  # strongly typed
    assert ("clear_flag", "TF32") in stand_in
    assert ("set_shape", "waveform", (1, 31920), (1, 64000), (2, 160000)) in stand_in
    ran = [call for call in stand_in if call[0] in ("execute_async_v3", "synchronize")]
    assert ran == [("execute_async_v3", 77), ("synchronize",)] * 5  # once for each duration up to 10 s
    assert done.checked_s == (0.3, 1.0, 2.0, 3.7, 10.0) and done.worst_cosine > 0.9999
    assert done.file.read_bytes().startswith(tensorrt_stand_in.ENGINE)
    assert [path.name for path in tmp_path.iterdir()] == ["voice.engine"]
    with pytest.raises(OutputError, match="is there already"):
        export_tensorrt(tiny_run, tmp_path / "voice.engine")


def test_an_engine_for_single_recordings_takes_them_one_by_one(
    tiny_run: Path, tmp_path: Path, stand_in: list[tuple[object, ...]]
) -> None:
    done = export_tensorrt(tiny_run, tmp_path / "one.engine", precision="fp16", sizes=InputSizes(1, 5.0))
    assert sum(call[0] == "execute_async_v3" for call in stand_in) == 2 * len(done.checked_s) == 8


def test_an_engine_that_disagrees_or_cannot_be_built_is_not_written(
    tiny_run: Path, tmp_path: Path, stand_in: list[tuple[object, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tensorrt_file, "LEAST_COSINES", {"fp32": 1.1})
    with pytest.raises(CheckpointError, match="disagrees with it"):
        export_tensorrt(tiny_run, tmp_path / "wrong.engine", sizes=InputSizes(2, 5.0))
    monkeypatch.setattr(tensorrt_file, "graph_of", lambda checkpoint, precision: b"no graph")
    with pytest.raises(CheckpointError, match="TensorRT cannot read the graph: mistake 0; mistake 1"):
        export_tensorrt(tiny_run, tmp_path / "wrong.engine")
    monkeypatch.setattr(tensorrt_stand_in.OnnxParser, "parse", lambda self, graph: True)
    with pytest.raises(CheckpointError, match="TensorRT could not build an engine"):
        export_tensorrt(tiny_run, tmp_path / "wrong.engine")
    monkeypatch.setattr(tensorrt_file, "_build", lambda *given: b"another version's")
    with pytest.raises(UsageError, match="the engine cannot be loaded"):
        export_tensorrt(tiny_run, tmp_path / "wrong.engine")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("given", [{"largest_batch": 0}, {"longest_s": 4.0}, {"longest_s": 61.0}])
def test_sizes_out_of_range_are_refused(given: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="an engine needs a largest batch of at least 1"):
        InputSizes(**given)  # type: ignore[arg-type]


def test_the_command_takes_sizes_and_precision(
    tiny_run: Path,
    tmp_path: Path,
    stand_in: list[tuple[object, ...]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = ["--precision", "fp16", "--largest-batch", "2", "--longest", "5", "--out", str(tmp_path / "a.engine")]
    assert main(["export", str(tiny_run), "--format", "tensorrt", *options]) == 0
    printed = capsys.readouterr()
    assert printed.out.strip() == str(tmp_path / "a.engine") and "made-up voices of 0.3 to 3.7 s" in printed.err
    assert ("set_shape", "waveform", (1, 31920), (1, 64000), (2, 80000)) in stand_in
