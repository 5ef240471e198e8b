"""A small model of random weights, and one that was trained, for whoever needs any model."""

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from sound_groove.networks.architectures import build_network
from sound_groove.networks.checkpoint import save_checkpoint
from sound_groove.networks.checkpoint_header import CheckpointHeader
from sound_groove.networks.tensor_groups import CENTRE, NETWORK
from sound_groove.recipe.network import NetworkConfiguration
from sound_groove.training.trainer import train
from training_corpus import TINY_NETWORK, prepare_corpus, tiny_recipe

if TYPE_CHECKING:
    import onnx


def write_model(path: Path) -> None:
    """A network with random weights and a made-up score map, as a model file."""
    configuration = NetworkConfiguration.model_validate(TINY_NETWORK)
    with torch.random.fork_rng(devices=[]):
        network = build_network(configuration)
    generator = torch.Generator().manual_seed(1)
    tensors = {}
    for name, tensor in network.state_dict().items():
        values = torch.randn(tensor.shape, generator=generator) * 0.1
        # As after training: batch statistics that are not the fresh 0 and 1, and scales above 0, as most of them stay.
        is_positive = "var" in name or name.endswith("norm.weight")
        tensors[NETWORK + name] = tensor if not tensor.is_floating_point() else values.abs() if is_positive else values
    tensors[f"{CENTRE}mean"] = torch.randn(configuration.embedding_size, generator=generator) * 0.01
    score_map = {"scale": 10.0, "offset": -3.0, "fitted_on": "nothing: made up"}
    facts = {"epoch": 3, "validation_eer": 0.125, "description": "random weights"}
    save_checkpoint(path, tensors, CheckpointHeader("random", configuration.model_dump(), score_map, facts))


def spoil(proto: "onnx.ModelProto", matrix: str = "embedding.weight") -> None:
    """Change a matrix of a network in its graph, by default of the last layer: it disagrees with its model then."""
    import onnx

    weights = next(one for one in proto.graph.initializer if one.name.endswith(matrix))
    values = onnx.numpy_helper.to_array(weights).copy()
    values[0] += 0.5
    weights.CopyFrom(onnx.numpy_helper.from_array(values, weights.name))


def train_model(folder: Path) -> None:
    """One epoch on made-up voices; the run lies in `run`."""
    recipe = tiny_recipe(prepare_corpus(folder), training__epochs=1, description="made-up voices, for tests")
    train(recipe, folder / "run")
