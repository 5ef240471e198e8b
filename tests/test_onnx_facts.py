"""What `info` says of a model in ONNX: the same as the onnx package reads there, and a sentence for what is damaged."""

import doctest
import json
import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import sound_groove.encoder.onnx_facts as module
import sound_groove.encoder.onnx_trial as onnx_trial
from processes import modules_after
from sound_groove.cli import main
from sound_groove.encoder.onnx_content import read_onnx
from sound_groove.encoder.onnx_facts import describe_onnx
from sound_groove.errors import CheckpointError
from sound_groove.networks.checkpoint import load_checkpoint


def foreign(path: Path, inputs: bool = False, **metadata: str) -> Path:
    """A model in the manner of others: filterbanks in, weights in float16 of which some are a constant of the graph."""
    weights = np.linspace(-1.0, 1.0, 80 * 6).reshape(80, 6).astype(np.float16)
    bias = numpy_helper.from_array(np.ones(6, np.float16), "bias")
    nodes = [
        helper.make_node("Cast", ["feats"], ["half"], to=TensorProto.FLOAT16),
        helper.make_node("MatMul", ["half", "weights"], ["frames"]),
        helper.make_node("Constant", [], ["offset"], value=bias),
        helper.make_node("Add", ["frames", "offset"], ["moved"]),
        helper.make_node("Cast", ["moved"], ["wide"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["wide", "axis"], ["embs"], keepdims=0),
    ]
    taken = [helper.make_tensor_value_info("feats", TensorProto.FLOAT, ["B", "T", 80])]
    if inputs:  # as before version 4 of the format: weights are inputs that have a value already
        taken.append(helper.make_tensor_value_info("weights", TensorProto.FLOAT16, [80, 6]))
    graph = helper.make_graph(
        nodes,
        "foreign",
        taken,
        [helper.make_tensor_value_info("embs", TensorProto.FLOAT, ["B", 6])],
        [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(np.array([1]), "axis")],
    )
    sets = [helper.make_opsetid("", 18), helper.make_opsetid("com.example", 3)]
    model = helper.make_model(graph, opset_imports=sets, ir_version=9, producer_name="someone", producer_version="1.2")
    helper.set_model_props(model, metadata)
    onnx.save(model, path)
    return path


def shapes(values: Any) -> dict[str, list[Any]]:
    return {one.name: [d.dim_param or d.dim_value for d in one.type.tensor_type.shape.dim] for one in values}


def test_the_onnx_package_reads_the_same(exported: Path, tmp_path: Path) -> None:
    for path in (exported, foreign(tmp_path / "foreign.onnx", framework="wespeaker")):
        model, content = onnx.load(path), read_onnx(path)
        assert content.metadata == {entry.key: entry.value for entry in model.metadata_props} != {}
        assert content.opsets == {one.domain: one.version for one in model.opset_import}
        assert content.producer == f"{model.producer_name} {model.producer_version}".strip()
        assert (content.inputs, content.outputs) == (shapes(model.graph.input), shapes(model.graph.output))
        tensors = [*model.graph.initializer]
        tensors += [a.t for node in model.graph.node for a in node.attribute if a.type == onnx.AttributeProto.TENSOR]
        expected: Counter[str] = Counter()
        for tensor in tensors:
            expected[numpy_helper.to_array(tensor).dtype.name] += math.prod(tensor.dims)
        assert content.values == expected and sum(expected.values()) > 400


def test_a_file_of_ours_says_what_its_checkpoint_says(exported: Path, model_path: Path) -> None:
    facts, checkpoint = describe_onnx(exported), load_checkpoint(model_path)
    assert (facts["name"], facts["hash"]) == ("random", checkpoint.hash)
    assert (facts["kind"], facts["embedding_size"], facts["opset"]) == ("waveform-in", 12, 18)
    assert facts["network"] == checkpoint.header.network and facts["score_map"] == checkpoint.header.score_map
    assert facts["training"] == checkpoint.header.training and facts["training"]["epoch"] == 3
    assert facts["precision"] == "float32" and facts["problem"] is None
    assert facts["bytes"] == exported.stat().st_size
    assert facts["metadata"]["sample_rate"] == 16000 and facts["metadata"]["description"] == "random weights"
    assert not {"name", "hash", "embedding_size", "network", "score_map", "training"} & facts["metadata"].keys()


def test_a_file_of_others_is_told_by_what_it_takes(tmp_path: Path) -> None:
    path = foreign(tmp_path / "campplus.onnx", framework="3d-speaker", version="1.10", layout='{"bins": 80}')
    facts = describe_onnx(path)
    assert (facts["name"], facts["kind"], facts["embedding_size"]) == ("campplus", "feature-in", 6)
    assert (facts["opset"], facts["other_opsets"]) == (18, {"com.example": 3})
    assert (facts["precision"], facts["values"]) == ("float16", {"float16": 486, "int64": 1})
    assert facts["metadata"] == {"framework": "3d-speaker", "version": "1.10", "layout": {"bins": 80}}
    assert facts["producer"] == "someone 1.2" and facts["problem"] is facts["network"] is facts["training"] is None


def test_weights_that_are_listed_as_inputs_are_none(tmp_path: Path) -> None:
    assert read_onnx(foreign(tmp_path / "old.onnx", inputs=True)).inputs == {"feats": ["B", "T", 80]}


def test_a_model_that_cannot_be_used_is_described_and_says_why(tmp_path: Path) -> None:
    facts = describe_onnx(foreign(tmp_path / "nemo.onnx", framework="nemo"))
    said = f"{tmp_path / 'nemo.onnx'}: takes nemo's features, not Kaldi's; 'sound-groove import "
    assert facts["problem"].startswith(said)
    assert facts["embedding_size"] == 6 and facts["kind"] == "feature-in"  # as the file declares them
    damaged = foreign(tmp_path / "map.onnx", score_map='{"scale": "x"')
    assert "score map is damaged" in describe_onnx(damaged)["problem"]


def test_what_json_cannot_say_stays_a_text(tmp_path: Path) -> None:
    entries = {"a": '{"x": NaN}', "b": "[1e999]", "c": "{", "d": "[" * 100_000, "e": "007", "f": "9" * 5000, "g": "12"}
    facts = describe_onnx(foreign(tmp_path / "odd.onnx", False, **entries))
    assert facts["metadata"] == {**entries, "g": 12}
    json.dumps(facts, allow_nan=False)


def test_lengths_that_are_packed_are_read_too(tmp_path: Path) -> None:
    """Some writers put all dimensions of a tensor into one field."""

    def field(number: int, content: bytes) -> bytes:
        assert len(content) < 128
        return bytes([number << 3 | 2, len(content)]) + content

    tensor = field(1, bytes([3, 0x80 | 44, 2])) + bytes([2 << 3, 1]) + field(8, b"w")  # 3 x 300, float32
    (tmp_path / "packed.onnx").write_bytes(field(7, field(5, tensor)))
    assert read_onnx(tmp_path / "packed.onnx").values == {"float32": 900}


def test_damage_anywhere_is_one_sentence(tmp_path: Path) -> None:
    whole = foreign(tmp_path / "whole.onnx", framework="wespeaker", note="x" * 50).read_bytes()
    path = tmp_path / "broken.onnx"
    contents = [b"", b"nonsense", b"RIFF" + bytes(400), b"version https://git-lfs.github.com/spec/v1\n"]
    contents += [whole[:length] for length in range(0, len(whole), 7)]
    random = np.random.default_rng(0)
    for _ in range(300):
        flipped = bytearray(whole)
        flipped[random.integers(len(whole))] ^= 1 << int(random.integers(8))
        contents.append(bytes(flipped))
    refused = 0
    for content in contents:
        path.write_bytes(content)
        try:
            read_onnx(path)
        except CheckpointError as error:
            refused += 1
            assert str(error) == f"{path}: is damaged, truncated or not an ONNX file"
    assert refused > 100
    with pytest.raises(CheckpointError, match="there is no such model file"):
        read_onnx(tmp_path / "nothing.onnx")


def test_the_examples_in_the_docstrings_hold() -> None:
    result = doctest.testmod(module)
    assert result.attempted > 0 and result.failed == 0


# The command


def test_info_prints_what_is_in_an_onnx_file(exported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(exported)]) == 0
    rows = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert rows["kind"] == "waveform-in" and rows["inputs.waveform"] == "batch, samples"
    assert rows["training.validation_eer"] == "0.125" and rows["score_map.scale"] == "10"
    assert rows["values.float32"].replace(",", "") == str(describe_onnx(exported)["values"]["float32"])
    assert "problem" not in rows
    assert main(["info", str(exported), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == describe_onnx(exported)


def test_what_others_wrote_cannot_disturb_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = foreign(
        tmp_path / "odd.onnx", False, **{"no\x1bte": "a\x1b[31mb\nc", "list": '["\\u001b", 2]', "book": "x" * 9999}
    )
    assert main(["info", str(path)]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out and r"a\x1b[31mb c" in out and r"metadata.no\x1bte" in out
    assert max(map(len, out.splitlines())) < 450


def test_info_of_an_onnx_file_loads_no_torch(exported: Path) -> None:
    loaded = modules_after(f"from sound_groove.cli import main\nassert main(['info', {str(exported)!r}]) == 0")
    assert "sound_groove.encoder.onnx_facts" in loaded
    assert not {"torch", "onnx", "pydantic", "safetensors"} & loaded


def test_a_file_that_is_no_model_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.onnx").write_bytes(b"nonsense")
    assert main(["info", str(tmp_path / "a.onnx")]) == 1
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.startswith(f"error: {tmp_path / 'a.onnx'}: is damaged")
    assert printed.err.count("\n") == 1


def endless(path: Path) -> Path:
    """A model whose only output comes of a loop that does not end."""
    number, flag = TensorProto.INT64, TensorProto.BOOL
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["going"], ["going_on"]),
            helper.make_node("Add", ["sum", "one"], ["sum_on"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("turn", number, []),
            helper.make_tensor_value_info("going", flag, []),
            helper.make_tensor_value_info("sum", TensorProto.FLOAT, [1, 2]),
        ],
        [
            helper.make_tensor_value_info("going_on", flag, []),
            helper.make_tensor_value_info("sum_on", TensorProto.FLOAT, [1, 2]),
        ],
    )
    graph = helper.make_graph(
        [
            helper.make_node("Loop", ["", "true", "zero"], ["looped"], body=body),
            helper.make_node("ReduceSum", ["samples"], ["total"], keepdims=1),
            helper.make_node("Add", ["looped", "total"], ["embedding"]),
        ],
        "endless",
        [helper.make_tensor_value_info("samples", TensorProto.FLOAT, ["B", "T"])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["B", 2])],
        [
            helper.make_tensor("true", flag, [], [True]),
            helper.make_tensor("zero", TensorProto.FLOAT, [1, 2], [0.0, 0.0]),
            helper.make_tensor("one", TensorProto.FLOAT, [1, 2], [1.0, 1.0]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


def huge(path: Path) -> Path:
    """A model of some hundred bytes with a constant of 40 GB, which is made when it is opened."""
    graph = helper.make_graph(
        [
            helper.make_node(
                "ConstantOfShape", ["shape"], ["ones"], value=helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0])
            ),
            helper.make_node("ReduceMean", ["ones"], ["mean"], keepdims=0),
            helper.make_node("Add", ["samples", "mean"], ["embedding"]),
        ],
        "huge",
        [helper.make_tensor_value_info("samples", TensorProto.FLOAT, ["B", "T"])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["B", "T"])],
        [helper.make_tensor("shape", TensorProto.INT64, [2], [100_000, 100_000])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("make", [endless, huge])
def test_a_strange_file_costs_little(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], Path]
) -> None:
    path = make(tmp_path / "strange.onnx")
    monkeypatch.setattr(onnx_trial, "WAITED_S", 8.0)
    facts = describe_onnx(path)
    assert facts["problem"] is not None and facts["problem"].isprintable() and "strange.onnx" in facts["problem"]
    assert facts["inputs"] == {"samples": ["B", "T"]}
