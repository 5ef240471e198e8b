"""From a network to an ONNX graph with dynamic axes, and what the graph says of itself."""

import json
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from sound_groove._version import __version__
from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.encoder.onnx_content import CHECKSUM, NO_CHECKSUM, with_checksum
from sound_groove.encoder.onnx_model import PROBE_KEY
from sound_groove.encoder.runtimes import LEVEL
from sound_groove.errors import CheckpointError
from sound_groove.export.shared_facts import shared_facts
from sound_groove.networks.checkpoint import Checkpoint
from sound_groove.networks.probe import Probe
from sound_groove.types import Embeddings

if TYPE_CHECKING:
    import onnx

OUTPUT = "embedding"
OPSET = 18


def trace(
    module: nn.Module,
    example: Tensor,
    name: str,
    axes: Sequence[str],
    has_level: bool = False,
    outputs: Sequence[str] = (OUTPUT,),
) -> "onnx.ModelProto":
    """A module as an ONNX graph.

    Args:
        module: in evaluation mode.
        example: an input such as it will take; the sizes of its first axes are free in the graph.
        name: of the input: that of the argument of `forward`.
        axes: names of the free axes, from the first one on. The first is the batch, which the outputs have too.
        has_level: whether the module has a second argument, the level of the recordings that the inputs are pieces of.
            It becomes an input with a default, 0: one that need not be given, and that runtimes do not list among those
            that must. It has one value, or one for each item of the batch.
        outputs: names of what the module gives, the embeddings first.

    Raises:
        CheckpointError: torch could not export the module.
    """
    free = dict.fromkeys(range(len(axes)), torch.export.Dim.DYNAMIC)
    with quiet():
        program = torch.onnx.export(
            module,
            (example, *([torch.zeros(1)] if has_level else [])),
            input_names=[name, *([LEVEL] if has_level else [])],
            output_names=[f"given_as_{name}" for name in outputs],
            dynamic_shapes=(free, *([None] if has_level else [])),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    if program is None:
        raise CheckpointError("torch could not export the network")
    proto: onnx.ModelProto = program.model_proto
    _name_outputs(proto, outputs)
    for value, names in ((proto.graph.input[0], axes), *((output, axes[:1]) for output in proto.graph.output)):
        for dimension, axis in zip(value.type.tensor_type.shape.dim, names, strict=False):
            dimension.dim_param = axis
    if has_level:
        _give_default(proto)
    # Nobody needs these: they speak of the dimensions by other names, and of the exporting machine's files and folders.
    del proto.graph.value_info[:]
    del proto.graph.metadata_props[:]
    for node in proto.graph.node:
        del node.metadata_props[:]
        node.ClearField("doc_string")
    return proto


def _name_outputs(proto: "onnx.ModelProto", names: Sequence[str]) -> None:
    """Let a graph's outputs bear these names, also where a value inside has one of them: torch calls what a table of
    vectors gives `embedding`."""
    graph = proto.graph
    new = {name: f"inner_{name}" for name in names}
    new |= {output.name: name for output, name in zip(graph.output, names, strict=True)}
    for node in graph.node:
        for values in (node.input, node.output):
            values[:] = [new.get(value, value) for value in values]
    for named in (*graph.initializer, *graph.output):
        named.name = new.get(named.name, named.name)


def _give_default(proto: "onnx.ModelProto") -> None:
    """Let a graph do without the level: 0, which asks it to find the level itself."""
    import onnx

    (value,) = (value for value in proto.graph.input if value.name == LEVEL)
    value.type.tensor_type.shape.dim[0].dim_param = "levels"  # one, or one for each item
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros(1, np.float32), LEVEL))


def describe(proto: "onnx.ModelProto", entries: Mapping[str, object]) -> None:
    """Let a graph say what it is, in entries that every runtime can read."""
    for key, value in entries.items():
        entry = proto.metadata_props.add()
        entry.key, entry.value = key, str(value)


def serialised(proto: "onnx.ModelProto") -> bytes:
    """The file of a graph, which carries a checksum of itself; that of an earlier file is replaced."""
    for entry in [entry for entry in proto.metadata_props if entry.key == CHECKSUM]:
        proto.metadata_props.remove(entry)
    describe(proto, {CHECKSUM: NO_CHECKSUM})
    return with_checksum(proto.SerializeToString())


def carry_probe(proto: "onnx.ModelProto", embedding: Embeddings, least_cosine: float) -> None:
    """Let a graph say which embedding (D,) of the probe it must give, and how nearly, wherever it is used."""
    describe(proto, {PROBE_KEY: json.dumps(Probe.of(embedding, least_cosine).as_dict())})


def facts(checkpoint: Checkpoint, data: str | None = None, licence: str | None = None) -> dict[str, object]:
    """What every exported graph says: plain entries for everybody, and all that the checkpoint says as JSON.

    Args:
        checkpoint: the model.
        data: what it was trained on; the description of its recipe when None.
        licence: of these data; when None, what the checkpoint says of it, which may be nothing.
    """
    score_map, centre, training = checkpoint.score_map, checkpoint.centre, checkpoint.header.training
    return {
        "name": checkpoint.header.name,
        "hash": checkpoint.hash,
        "sample_rate": SAMPLE_RATE,
        "embedding_size": checkpoint.header.network["embedding_size"],
        "network": json.dumps(checkpoint.header.network),
        "score_map": json.dumps(None if score_map is None else score_map.as_dict()),
        "centre": json.dumps(None if centre is None else centre.tolist()),
        "description": training.get("description", ""),
        "data": training.get("data", training.get("description", "")) if data is None else data,
        "licence": training.get("licence", "") if licence is None else licence,
        "training": json.dumps(shared_facts(training)),
        "sound_groove": __version__,
    }


@contextmanager
def quiet() -> Iterator[None]:
    """Without the exporter's talk of packages that it does not need."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
