"""Two models as one file: waveform in, the embeddings of both out, one behind the other, as one of unit length.

With the embeddings scaled by the roots of their shares, the cosine of two such embeddings is the models' cosines in
these shares. So the file is used as any other: compared, enrolled, searched, calibrated, served.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from sound_groove._version import __version__
from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.audio.pieces import repeated
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.encoder.onnx_content import read_onnx
from sound_groove.encoder.onnx_model import is_own_file
from sound_groove.encoder.runtimes import LEVEL, NORM
from sound_groove.errors import CheckpointError, UsageError, printable, require_extra
from sound_groove.export.onnx_file import INPUT, running
from sound_groove.export.operators import operators_of, with_operators
from sound_groove.export.parity import CHECKED_S, SHORTEST_SAMPLES, demand
from sound_groove.export.placing import ExportedFile, check_free, place
from sound_groove.export.precision import LEAST_PROBE_COSINE, Precision
from sound_groove.export.tracing import OUTPUT, carry_probe, describe, serialised
from sound_groove.json_reading import parse_json
from sound_groove.networks.probe import probe_signal
from sound_groove.networks.trained_speakers import DIGESTS_KEY
from sound_groove.pretrained import model_path
from sound_groove.scoring.calibration import ScoreMap
from sound_groove.synthesis.voices import made_up_speaker, speak
from sound_groove.types import ModelIdentity

if TYPE_CHECKING:
    import onnx

LEAST_COSINE = 0.9999  # of the embedding with those of the two models, where they are in fp32
PREFIXES = ("first.", "second.")


@dataclass(frozen=True, slots=True)
class _Part:
    """One of the models.

    Attributes:
        encoder: the model.
        metadata: what its file says of itself.
        share: in the score.
        proto: the graph, with the part's prefix on all names.
        prefix: the prefix.
    """

    encoder: SpeakerEncoder
    metadata: Mapping[str, str]
    share: float
    proto: "onnx.ModelProto"
    prefix: str

    @property
    def identity(self) -> ModelIdentity:
        """The model's name and hash."""
        return self.encoder.identity


def check_fusible(models: Sequence[str | Path], out: str | Path | None, force: bool) -> tuple[list[Path], Path]:
    """The files of the models, and the file to write, before anything is computed.

    Raises:
        CheckpointError: there is no such file, or it is none of ours.
        UsageError: a model is not in ONNX or takes features, the two are one, or no `.onnx` file to write is named.
        OutputError: the file to write is there already.
    """
    require_extra("Fusing two models", "train", "torch", "onnx", "onnxruntime")
    if out is None or Path(out).suffix != ".onnx":
        raise UsageError("two models become one file, which --out must name, ending in .onnx")
    check_free(Path(out), force)
    paths = [model_path(model) for model in models]
    hashes = []
    for path in paths:
        name = printable(str(path))
        if path.suffix != ".onnx":
            raise UsageError(f"{name}: models are fused as ONNX files; 'sound-groove export {name}' makes one of it")
        content = read_onnx(path)
        if not is_own_file(content.metadata):
            raise CheckpointError(f"{name}: is no model of ours; 'sound-groove import' makes one of it")
        if len(content.inputs.get(INPUT, [])) != 2:
            raise UsageError(f"{name}: takes features, not waveforms, and cannot be fused")
        if isinstance(content.inputs[INPUT][0], int) or "longest_samples" in content.metadata:
            raise UsageError(f"{name}: is made for batches or recordings of one size, and cannot be fused")
        hashes.append(content.metadata["hash"])
    if len(set(hashes)) < len(hashes):
        raise UsageError(f"{printable(str(paths[0]))} and {printable(str(paths[1]))} are one model; nothing is gained")
    return paths, Path(out)


def write_fused(models: Sequence[Path], shares: Sequence[float], score_map: ScoreMap, out: Path) -> ExportedFile:
    """Write two models as one file.

    Args:
        models: files that `check_fusible` let pass.
        shares: of each in the score, with a sum of 1.
        score_map: from that score to log-likelihood ratio.
        out: the file to write; it is replaced in one piece.

    Raises:
        CheckpointError: a model cannot be read, or what is written disagrees with the two; nothing is written.
        OutputError: the file cannot be written.
    """
    parts = _parts(models, shares)
    proto = _joined(parts)
    size = sum(int(part.metadata["embedding_size"]) for part in parts)
    told = json.dumps([[part.identity.hash, part.share] for part in parts])
    identity = ModelIdentity(
        " + ".join(part.identity.name for part in parts), hashlib.sha256(told.encode()).hexdigest()
    )
    describe(proto, _entries(parts, identity, size, score_map))
    embed, worst = running(proto.SerializeToString()), 1.0
    for number, duration_s in enumerate(CHECKED_S):
        voice = speak(made_up_speaker(0, number), 0, max(duration_s, 0.5))[: int(duration_s * SAMPLE_RATE)]
        whole = repeated(voice, SHORTEST_SAMPLES)
        rows = []
        for part in parts:
            rows.append(math.sqrt(part.share) * part.encoder.embed_voices([whole]).unit[0])
        worst = min(worst, float(embed(whole[None])[0] @ np.concatenate(rows)))
    demand(out, worst, LEAST_COSINE)
    least = min(LEAST_PROBE_COSINE[cast(Precision, part.metadata.get("precision", "fp32"))] for part in parts)
    carry_probe(proto, embed(probe_signal()[None])[0], least)
    return place(out, serialised(proto), identity, size, worst, CHECKED_S)


def _parts(models: Sequence[Path], shares: Sequence[float]) -> list[_Part]:
    """The models, all in the version of the operators of the latest of them."""
    import onnx
    import onnx.inliner

    protos = [onnx.load(str(path)) for path in models]
    version = max(map(operators_of, protos))
    parts = []
    for path, share, proto, prefix in zip(models, shares, protos, PREFIXES, strict=True):
        metadata = {entry.key: entry.value for entry in proto.metadata_props}
        proto = onnx.inliner.inline_local_functions(with_operators(proto, version, printable(str(path))))
        named = onnx.compose.add_prefix(proto, prefix)
        parts.append(_Part(SpeakerEncoder.load(path), metadata, share, named, prefix))
    return parts


def _joined(parts: Sequence[_Part]) -> "onnx.ModelProto":
    """One graph of them all, which takes the waveform and the level that they take."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes, initializers, sparse, levels = [], [], [], False
    for part in parts:
        graph = part.proto.graph
        nodes += _fed(part)
        level = part.prefix + LEVEL
        if any(one.name == level for one in graph.input):
            nodes.append(helper.make_node("Identity", [LEVEL], [level], name=f"{part.prefix}level"))
            levels = True
        initializers += [one for one in graph.initializer if one.name != level]
        sparse += list(graph.sparse_initializer)
        nodes += list(graph.node)
        root = numpy_helper.from_array(np.array(math.sqrt(part.share), np.float32), f"{part.prefix}root")
        initializers.append(root)
        embedding = [part.prefix + OUTPUT, f"{part.prefix}root"]
        nodes.append(helper.make_node("Mul", embedding, [f"{part.prefix}scaled"], name=f"{part.prefix}scale"))
    nodes.append(helper.make_node("Concat", [f"{part.prefix}scaled" for part in parts], [OUTPUT], name="both", axis=1))
    inputs = [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["batch", "samples"])]
    outputs = [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["batch", None])]
    if levels:
        inputs.append(helper.make_tensor_value_info(LEVEL, TensorProto.FLOAT, ["levels"]))
        initializers.append(numpy_helper.from_array(np.zeros(1, np.float32), LEVEL))
    if told := [part.prefix + NORM for part in parts if part.encoder.tells_norm]:
        nodes += _geometric_mean(told)
        outputs.append(helper.make_tensor_value_info(NORM, TensorProto.FLOAT, ["batch"]))
    graph = helper.make_graph(nodes, "fused", inputs, outputs, initializers, sparse_initializer=sparse)
    opsets = {one.domain: one.version for part in parts for one in part.proto.opset_import}
    imports = [helper.make_opsetid(domain, version) for domain, version in opsets.items()]
    proto = helper.make_model(graph, opset_imports=imports, producer_name="sound-groove")
    proto.ir_version = max(part.proto.ir_version for part in parts)
    onnx.checker.check_model(proto)
    return proto


def _fed(part: _Part) -> list["onnx.NodeProto"]:
    """From the waveform to what a model takes: with as much digital silence behind it as it was taught with."""
    from onnx import TensorProto, helper, numpy_helper

    name, given = part.prefix, part.prefix + INPUT
    if part.encoder.silence_share is None:
        return [helper.make_node("Identity", [INPUT], [given], name=f"{name}waveform")]
    within = f"{name}silence"
    constants: dict[str, np.ndarray[Any, Any]] = {
        "share": np.array(part.encoder.silence_share, np.float32),
        "before": np.zeros(3, np.int64),
    }
    part.proto.graph.initializer.extend(
        numpy_helper.from_array(value, f"{within}.{key}") for key, value in constants.items()
    )

    def node(kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> "onnx.NodeProto":
        return helper.make_node(kind, list(inputs), [output], name=f"{output}.node", **attributes)

    return [
        node("Shape", [INPUT], f"{within}.samples", start=1, end=2),
        node("Cast", [f"{within}.samples"], f"{within}.real", to=TensorProto.FLOAT),
        node("Mul", [f"{within}.real", f"{within}.share"], f"{within}.product"),
        node("Round", [f"{within}.product"], f"{within}.rounded"),
        node("Cast", [f"{within}.rounded"], f"{within}.count", to=TensorProto.INT64),
        node("Concat", [f"{within}.before", f"{within}.count"], f"{within}.pads", axis=0),
        node("Pad", [INPUT, f"{within}.pads"], given),
    ]


def _geometric_mean(names: Sequence[str]) -> list["onnx.NodeProto"]:
    """The norm of a fused embedding: the geometric mean of those that the models tell."""
    from onnx import helper

    logarithms = [f"{name}.log" for name in names]
    return [
        *(helper.make_node("Log", [name], [log], name=log) for name, log in zip(names, logarithms, strict=True)),
        helper.make_node("Mean", logarithms, ["norm.log"], name="norm.mean"),
        helper.make_node("Exp", ["norm.log"], [NORM], name="norm.exp"),
    ]


def _entries(parts: Sequence[_Part], identity: ModelIdentity, size: int, score_map: ScoreMap) -> dict[str, object]:
    """What the file says of itself."""

    def of_each(key: str) -> str:
        said = {part.identity.name: part.metadata.get(key, "") for part in parts}
        return "; ".join(f"{name}: {text}" for name, text in said.items() if text)

    models = [
        {
            "name": part.identity.name,
            "hash": part.identity.hash,
            "share": part.share,
            "precision": part.metadata.get("precision", "fp32"),
            "network": parse_json(part.metadata.get("network", "{}")),
        }
        for part in parts
    ]
    precisions = {str(model["precision"]) for model in models}
    digests = sorted({one for part in parts for one in part.encoder.trained_speakers})
    training: dict[str, Any] = {DIGESTS_KEY: digests} if digests else {}
    return {
        "name": identity.name,
        "hash": identity.hash,
        "sample_rate": SAMPLE_RATE,
        "embedding_size": size,
        "network": json.dumps({"kind": "two models", "embedding_size": size, "models": models}),
        "score_map": json.dumps(score_map.as_dict()),
        "centre": "null",
        "description": f"two models fused: {', '.join(f'{part.identity.name} ({part.share:g})' for part in parts)}",
        "data": of_each("data"),
        "licence": of_each("licence"),
        "use": of_each("use"),
        "training": json.dumps(training),
        "precision": precisions.pop() if len(precisions) == 1 else "mixed",
        "shortest_samples": SHORTEST_SAMPLES,
        "sound_groove": __version__,
    }
