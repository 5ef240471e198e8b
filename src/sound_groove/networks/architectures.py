"""The networks: one file an architecture, contract (B, T, F) -> (B, D).

Every network is built from a `NetworkConfiguration` alone and is called with features (B, T, F) and, for a padded
batch, the lengths (B,) in frames. It returns embeddings that are not normalised.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from torch import nn

from sound_groove.errors import ConfigurationError, nearest
from sound_groove.networks.campplus import CamPlusPlus
from sound_groove.networks.ecapa_tdnn import EcapaTdnn

if TYPE_CHECKING:
    from sound_groove.recipe.schema import NetworkConfiguration


def _ecapa_tdnn(configuration: "NetworkConfiguration") -> nn.Module:
    return EcapaTdnn(
        feature_size=configuration.feature_size,
        channels=configuration.channels,
        embedding_size=configuration.embedding_size,
    )


def _campplus(configuration: "NetworkConfiguration") -> nn.Module:
    return CamPlusPlus(
        feature_size=configuration.feature_size,
        channels=configuration.channels,
        embedding_size=configuration.embedding_size,
    )


ARCHITECTURES: dict[str, Callable[["NetworkConfiguration"], nn.Module]] = {
    "campplus": _campplus,
    "ecapa_tdnn": _ecapa_tdnn,
}


def build_network(configuration: "NetworkConfiguration") -> nn.Module:
    """A network with fresh weights.

    Args:
        configuration: names the architecture and gives its sizes.

    Raises:
        ConfigurationError: there is no such architecture, or it cannot have these sizes.
    """
    build = ARCHITECTURES.get(configuration.architecture)
    if build is None:
        hint = nearest(configuration.architecture, list(ARCHITECTURES))
        raise ConfigurationError(
            "network", [f"architecture: there is no network called '{configuration.architecture}'; {hint}"]
        )
    return build(configuration)
