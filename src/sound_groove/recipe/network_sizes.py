"""The networks by name, and the sizes in which each was published: what a recipe that gives none of them means."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NetworkSizes:
    """Sizes of a network.

    Attributes:
        channels: C, its width.
        embedding_size: D.
        feature_size: F, mel bins; 1 for the samples themselves.
    """

    channels: int
    embedding_size: int = 192
    feature_size: int = 80


SIZES = {
    "ecapa_tdnn": NetworkSizes(512),
    "campplus": NetworkSizes(512),
    "resnet34": NetworkSizes(32, 256),
    "resnet152": NetworkSizes(32, 256),
    "resnet221": NetworkSizes(32, 256),
    "resnet293": NetworkSizes(32, 256),
    "eres2netv2": NetworkSizes(64),
    "redimnet2": NetworkSizes(12, feature_size=72),
    "w2v_bert": NetworkSizes(128, 256),
    "wavlm": NetworkSizes(128, 256, feature_size=1),
}
REDIMNET2 = {
    name: NetworkSizes(channels, feature_size=72)
    for name, channels in {"b0": 12, "b1": 16, "b2": 20, "b3": 24, "b4": 32, "b5": 48, "b6": 64}.items()
}
DEFAULT_KIND = "ecapa_tdnn"


def published_sizes(kind: object, size: object) -> NetworkSizes:
    """The sizes in which a network was published; those of the default network for one that is not known here.

    Args:
        kind: its name.
        size: of those that come in several, which.

    >>> published_sizes("redimnet2", "b3").channels
    24
    """
    if kind == "redimnet2" and isinstance(size, str) and size in REDIMNET2:
        return REDIMNET2[size]
    return SIZES.get(kind, SIZES[DEFAULT_KIND]) if isinstance(kind, str) else SIZES[DEFAULT_KIND]
