"""State dictionaries of others: their names and shapes are the public code's, they load, and give what theirs give.

The digests and the embeddings were made with the public classes, given the weights of `lively_state`: WeSpeaker at
commit dfa7419, 3D-Speaker at 09e7806, ReDimNet2 by WeSpeaker's copy of its authors' class with the sizes that these
train.
"""

import re
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from lively_weights import clip, lively_state
from published_layouts import Layout, digest, ecapa_tdnn, redimnet2
from sound_groove.errors import CheckpointError
from sound_groove.networks.architectures import build_network
from sound_groove.networks.published import read_published
from sound_groove.recipe.network import NetworkConfiguration
from sound_groove.recipe.network_sizes import REDIMNET2, SIZES

# What builds a network here, and the names and shapes of its tensors as they are published.
Case = tuple[NetworkConfiguration, Callable[[], Layout]]

WIDE = {"width": 24, "scale": 4, "expansion": 4}
WESPEAKER = {"epsilon": 1e-7}


def own_layout(configuration: NetworkConfiguration) -> Layout:
    """The names and shapes that the network has here."""
    with torch.device("meta"):
        network = build_network(configuration)
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def of_kind(kind: str, size: int | None = None, **more: object) -> Case:
    """A network whose published names are those used here."""
    fields = {"kind": kind, **({} if size is None else {"embedding_size": size}), **more}
    configuration = NetworkConfiguration.model_validate(fields)
    return configuration, lambda: own_layout(configuration)


def of_ecapa(channels: int) -> Case:
    return NetworkConfiguration(channels=channels, options={"unbiased": True}), lambda: ecapa_tdnn(channels, 192)


def of_redimnet2(size: str, group_norm: bool = False) -> Case:
    options = {"group_norm": True} if group_norm else {}
    fields = {"kind": "redimnet2", "size": size, "options": options}
    return NetworkConfiguration.model_validate(fields), lambda: redimnet2(size, group_norm)


# The digest of the published names and shapes, the parameters, and their number in millions.
PUBLISHED = {
    "resnet34": (of_kind("resnet34"), "a50e49fd03e059a5", 6_634_336, "6.63 M"),
    "resnet152": (of_kind("resnet152"), "aa73b5ce47f6f7d4", 19_814_880, "19.81 M"),
    "resnet221": (of_kind("resnet221"), "c896d6ddd7e7bd80", 23_792_224, "23.79 M"),
    "resnet293": (of_kind("resnet293"), "8abadfe462cfda61", 28_626_016, "28.63 M"),
    "campplus 192": (of_kind("campplus"), "2958fda68cb1e0e2", 6_848_544, "6.85 M"),
    "campplus 512": (of_kind("campplus", 512), "bfb7209b41c42b8f", 7_176_224, "7.18 M"),
    "ecapa 512": (of_ecapa(512), "c461167df43fdff3", 6_190_720, "6.19 M"),
    "ecapa 1024": (of_ecapa(1024), "99c7fff3ad013fc1", 14_657_088, "14.66 M"),
    "eres2netv2": (of_kind("eres2netv2"), "58c1c45014a39044", 17_859_632, "17.86 M"),
    "eres2netv2 wide": (of_kind("eres2netv2", options=WIDE), "e8dea7f0f6deabc6", 53_513_632, "53.51 M"),
    # Their table cuts off: 1.1, 2.1, 3.6, 4.1, 6.6, 8.9 and 12.3.
    "redimnet2 b0": (of_redimnet2("b0"), "ddf06b48d040ae2c", 1_115_220, "1.12 M"),
    "redimnet2 b1": (of_redimnet2("b1"), "ba9ea416e78a525c", 2_161_488, "2.16 M"),
    "redimnet2 b2": (of_redimnet2("b2"), "3babc6b4943bad38", 3_677_760, "3.68 M"),
    "redimnet2 b3": (of_redimnet2("b3"), "08c83d8cbf96e020", 4_181_576, "4.18 M"),
    "redimnet2 b4": (of_redimnet2("b4"), "5d0e28335d5c362a", 6_659_744, "6.66 M"),
    "redimnet2 b5": (of_redimnet2("b5"), "3c573004f17c28c1", 8_959_272, "8.96 M"),
    "redimnet2 b6": (of_redimnet2("b6"), "2bffd05040be53d7", 12_394_784, "12.39 M"),
    "redimnet2 b0 normalised": (of_redimnet2("b0", True), "cd8f802bf6f3ac67", 1_127_316, "1.13 M"),
    "redimnet2 b6 normalised": (of_redimnet2("b6", True), "cda6cc8d2e36a7b9", 12_459_296, "12.46 M"),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_state_dictionary_loads_strictly(name: str) -> None:
    (configuration, published), theirs, parameters, rounded = PUBLISHED[name]
    layout = published()
    assert digest(layout) == theirs
    assert f"{parameters / 1e6:.2f} M" == rounded
    found = read_published({name: torch.empty(shape, device="meta") for name, shape in layout.items()})
    assert found.configuration == configuration
    with torch.device("meta"):
        network = build_network(configuration)
    network.load_state_dict(found.state, strict=True, assign=True)
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters


def test_every_network_is_compared_with_a_published_one() -> None:
    assert {configuration.kind for (configuration, _), *_ in PUBLISHED.values()} == set(SIZES) - {"w2v_bert", "wavlm"}
    sizes = {c.size for (c, _), *_ in PUBLISHED.values() if c.kind == "redimnet2"}
    assert sizes == set(REDIMNET2)


SMALL = {
    "resnet34": of_kind("resnet34", 16, channels=8),
    "resnet221": of_kind("resnet221", 16, channels=4),
    "eres2netv2": of_kind("eres2netv2", 16, channels=12),
    "eres2netv2 wide": of_kind("eres2netv2", 16, channels=12, options=WIDE),
    "campplus of WeSpeaker": of_kind("campplus", 16, channels=32, options=WESPEAKER),
    "ecapa": of_ecapa(64),
    "redimnet2 b0": of_redimnet2("b0"),
    "redimnet2 b0 normalised": of_redimnet2("b0", True),
}
# The first four values that the public classes give of `clip(50)` in float64.
THEIRS = {
    "resnet34": [15.451136, -39.218022, -22.185143, -3.58085],
    "resnet221": [-435550.386587, -349666.744518, -208082.794937, 433919.404874],
    "eres2netv2": [-7.118845, -6.510277, -16.381066, -19.311233],
    "eres2netv2 wide": [-6.333946, -30.952381, 42.47019, 30.371021],
    "ecapa": [2.040088, 0.14226, -1.048831, 0.536579],
    "redimnet2 b0": [-1.819345, -10.448878, 2.122996, -3.621236],
    "redimnet2 b0 normalised": [1.317122, 0.751444, 0.581581, -1.748],
    "campplus of WeSpeaker": [0.286552, -0.424976, 0.027754, -0.243298],
}


@pytest.mark.parametrize("name", SMALL)
def test_it_gives_what_the_class_of_its_makers_gives(name: str) -> None:
    configuration, layout = SMALL[name]
    embedding = embed(lively_state(layout()), clip(50, size=configuration.feature_size), configuration)
    torch.testing.assert_close(embedding[:4], torch.tensor(THEIRS[name]).double(), rtol=1e-5, atol=1e-5)


def embed(state: dict[str, Tensor], features: Tensor, configuration: NetworkConfiguration) -> Tensor:
    """(1, T, F) -> (D,) by a published state dictionary."""
    if configuration.options == WESPEAKER:  # whose files still have the classes
        state = state | {"projection.weight": torch.zeros(3, 2)}
    found = read_published(state)
    assert found.configuration == configuration
    network = build_network(found.configuration).double()
    network.load_state_dict(found.state, strict=True)
    with torch.no_grad():
        embedding: Tensor = network.eval()(features.double())[0]
    return embedding


def test_what_belongs_to_training_and_front_end_is_left_out() -> None:
    layout = SMALL["redimnet2 b0"][1]()
    more = {"projection.weight": (5, 192), "spec.torchfbank.1.flipped_filter": (1, 1, 2)}
    found = read_published({f"module.{n}": torch.empty(s, device="meta") for n, s in (layout | more).items()})
    assert len(found.state) == len(layout)


@pytest.mark.parametrize(
    ("name", "changes", "complaint"),
    [
        ("resnet34", {"layer4.2.bn2.bias": None}, "not quite one of resnet34: 'layer4.2.bn2.bias' is missing"),
        ("resnet34", {"more": (1,)}, "not quite one of resnet34: 'more' is unknown to it"),
        ("resnet34", {"seg_1.bias": (15,)}, "'seg_1.bias' has shape (15,) where (16,) is expected"),
        ("resnet34", {"layer3.6.conv1.weight": (1,)}, "a ResNet with 7 blocks in its third stage"),
        ("resnet34", {"seg_2.weight": (1,)}, "two layers behind the pooling"),
        ("resnet34", {"conv1.weight": None}, "not known here: 'conv1.weight'"),
        ("resnet34", {"seg_1.weight": (5000, 1280)}, "less than or equal to 4096"),
        ("ecapa", {"pool.linear1.weight": (128, 1536, 1)}, "whose attention does not see the whole utterance"),
        ("eres2netv2", {"layer4.0.convs.0.weight": (1, 1, 3, 3)}, "network that is not known here"),
        ("redimnet2 b0", {"backbone.stage0_pre.0.w": (1,)}, "two sequences a stage"),
        ("redimnet2 b0", {"backbone.stem.0.weight": (13, 1, 3, 3)}, "a ReDimNet2 of 13 channels"),
        ("redimnet2 b0", {"backbone.fin_wght1d.w": None}, "of none of these networks: ResNet34"),
    ],
)
def test_a_dictionary_that_is_not_quite_one_is_refused(
    name: str, changes: dict[str, tuple[int, ...] | None], complaint: str
) -> None:
    layout = {name: shape for name, shape in (SMALL[name][1]() | changes).items() if shape is not None}
    with pytest.raises(CheckpointError, match=re.escape(complaint)):
        read_published({name: torch.empty(shape, device="meta") for name, shape in layout.items()})
