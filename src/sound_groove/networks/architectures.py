"""The networks: one file an architecture, contract (B, T, F) -> (B, D).

Every network is built from a `NetworkConfiguration` alone and is called with features (B, T, F) and, for a padded
batch, the lengths (B,) in frames. It returns embeddings that are not normalised.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING

from torch import nn

from sound_groove.errors import ConfigurationError, nearest
from sound_groove.networks.backbone import LAYERS, BackboneSizes
from sound_groove.networks.campplus import CamPlusPlus
from sound_groove.networks.ecapa_tdnn import POOLED_SIZE, SCALE, EcapaTdnn
from sound_groove.networks.eres2netv2 import ERes2NetV2
from sound_groove.networks.own import build_own, is_own
from sound_groove.networks.redimnet2 import ReDimNet2
from sound_groove.networks.resnet import DEPTHS, ResNet
from sound_groove.networks.w2v_bert import W2vBert
from sound_groove.networks.wavlm import CONVOLUTION, FORMS, WavLM

if TYPE_CHECKING:
    from sound_groove.recipe.network import NetworkConfiguration

_WORDS: dict[type, str] = {bool: "true or false", int: "a whole number", float: "a number such as 0.5", str: "a word"}

Options = Mapping[str, bool | int | float | str]


def _ecapa_tdnn(configuration: "NetworkConfiguration") -> nn.Module:
    defaults: Options = {"unbiased": False, "scale": SCALE, "pooled": POOLED_SIZE, "speechbrain": False}
    options = _checked(configuration, defaults, most=4 * POOLED_SIZE)
    return EcapaTdnn(
        feature_size=configuration.feature_size,
        channels=configuration.channels,
        embedding_size=configuration.embedding_size,
        unbiased=bool(options["unbiased"]),
        scale=int(options["scale"]),
        pooled=int(options["pooled"]),
        speechbrain=bool(options["speechbrain"]),
    )


def _campplus(configuration: "NetworkConfiguration") -> nn.Module:
    options = _checked(configuration, {"epsilon": 0.0})
    return CamPlusPlus(
        feature_size=configuration.feature_size,
        channels=configuration.channels,
        embedding_size=configuration.embedding_size,
        epsilon=float(options["epsilon"]),
    )


def _resnet(configuration: "NetworkConfiguration") -> nn.Module:
    _checked(configuration, {})
    return ResNet(
        depth=int(configuration.kind.removeprefix("resnet")),
        feature_size=configuration.feature_size,
        channels=configuration.channels,
        embedding_size=configuration.embedding_size,
    )


def _eres2netv2(configuration: "NetworkConfiguration") -> nn.Module:
    options = _checked(configuration, {"width": 26, "scale": 2, "expansion": 2})
    return ERes2NetV2(
        feature_size=configuration.feature_size,
        channels=configuration.channels,
        embedding_size=configuration.embedding_size,
        width=int(options["width"]),
        scale=int(options["scale"]),
        expansion=int(options["expansion"]),
    )


def _redimnet2(configuration: "NetworkConfiguration") -> nn.Module:
    options = _checked(configuration, {"group_norm": False})
    return ReDimNet2(
        size=configuration.size or "b0",
        feature_size=configuration.feature_size,
        channels=configuration.channels,
        embedding_size=configuration.embedding_size,
        group_norm=bool(options["group_norm"]),
    )


def _w2v_bert(configuration: "NetworkConfiguration") -> nn.Module:
    sizes = asdict(BackboneSizes())
    options = _checked(configuration, {"layers": LAYERS[0], "states": 0, **sizes}, most=2**16)
    return W2vBert(
        feature_size=configuration.feature_size,
        channels=configuration.channels,
        embedding_size=configuration.embedding_size,
        sizes=BackboneSizes(**{name: int(options[name]) for name in sizes}),
        layers=str(options["layers"]),
        states=int(options["states"]),
    )


def _wavlm(configuration: "NetworkConfiguration") -> nn.Module:
    form = configuration.options.get("form", "large")
    sizes = asdict(FORMS.get(str(form), FORMS["large"]))
    defaults = {"form": "large", "convolution": CONVOLUTION, "layers": LAYERS[0], "states": 0, **sizes}
    options = _checked(configuration, defaults, most=2**16)
    return WavLM(
        feature_size=configuration.feature_size,
        channels=configuration.channels,
        embedding_size=configuration.embedding_size,
        form=str(options["form"]),
        sizes=BackboneSizes(**{name: int(options[name]) for name in sizes}),
        convolution=int(options["convolution"]),
        layers=str(options["layers"]),
        states=int(options["states"]),
    )


ARCHITECTURES: dict[str, Callable[["NetworkConfiguration"], nn.Module]] = {
    "campplus": _campplus,
    "ecapa_tdnn": _ecapa_tdnn,
    "eres2netv2": _eres2netv2,
    "redimnet2": _redimnet2,
    "w2v_bert": _w2v_bert,
    "wavlm": _wavlm,
    **{f"resnet{depth}": _resnet for depth in DEPTHS},
}


def build_network(configuration: "NetworkConfiguration") -> nn.Module:
    """A network with fresh weights.

    Args:
        configuration: names the architecture and gives its sizes.

    Raises:
        ConfigurationError: there is no such architecture, it cannot have these sizes or options, or it is one's own and
            its module was not named or is not there (`sound_groove.networks.own`).
    """
    if is_own(configuration.kind):
        return build_own(configuration)
    build = ARCHITECTURES.get(configuration.kind)
    if build is None:
        hint = nearest(configuration.kind, list(ARCHITECTURES))
        raise ConfigurationError("network", [f"kind: there is no network called '{configuration.kind}'; {hint}"])
    return build(configuration)


def _checked(configuration: "NetworkConfiguration", defaults: Options, most: int = 256) -> Options:
    """The options of a network, each of the type that its default has, and whole numbers from 1 to `most`.

    Raises:
        ConfigurationError: with every mistake.
    """
    problems = []
    for name, value in configuration.options.items():
        if name not in defaults:
            hint = nearest(name, list(defaults)) if defaults else "it has none"
            problems.append(f"options.{name}: {configuration.kind} has no such option; {hint}")
        elif type(value) is not type(defaults[name]):
            wanted = _WORDS[type(defaults[name])]
            problems.append(f"options.{name}: must be {wanted}, given {value!r}")
        elif type(value) is int and not 1 <= value <= most:
            problems.append(f"options.{name}: must lie between 1 and {most}, given {value}")
        elif type(value) is float and not 0.0 <= value <= 1.0:
            problems.append(f"options.{name}: must lie between 0 and 1, given {value}")
    if problems:
        raise ConfigurationError("network", problems)
    return {**defaults, **configuration.options}
