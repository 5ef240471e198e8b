"""The `network` section of a recipe: which network, and what it hears."""

from dataclasses import asdict
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from sound_groove.recipe.network_sizes import DEFAULT_KIND, published_sizes
from sound_groove.recipe.section import Section


class NetworkConfiguration(Section):
    """The network that maps filterbank features to an embedding.

    Attributes:
        kind: "ecapa_tdnn", "resnet34", "resnet152", "resnet221", "resnet293", "campplus", "eres2netv2", "redimnet2",
            "w2v_bert" or "wavlm"; or a class of one's own, as "module:Class", which is loaded if the command line names
            its module. (Files and recipes of before call it `architecture`.)
        size: of redimnet2, "b0" (which is its default) to "b6".
        channels: width C. Of ECAPA-TDNN that of the convolutional blocks, a multiple of 8; 512 and 1024 are the
            published sizes. Of CAM++ the channels that are pooled, a multiple of 16. Of the others the channels at the
            start; of w2v-BERT and WavLM the width of what hears their layers. By default the published one: 512 for
            ECAPA-TDNN and CAM++, 32 for ResNets, 64 for ERes2NetV2, 12 to 64 for ReDimNet2 b0 to b6, 128 for w2v-BERT
            and WavLM.
        embedding_size: D; 192 and 256 are usual. By default the published one: 256 for ResNets, w2v-BERT and WavLM, 192
            for the others.
        feature_size: mel bins F, 80 or 72; or 1, the samples themselves, for WavLM and networks of one's own. By
            default 72 for ReDimNet2, 1 for WavLM, 80 for the others.
        options: what only this network has: of ecapa_tdnn `unbiased` (true or false: statistics for the attention as
            WeSpeaker has them), `scale` (8: groups of channels in a Res2 convolution), `pooled` (1536 channels) and
            `speechbrain` (true or false: as SpeechBrain has it); of campplus `epsilon` (1e-7
            as WeSpeaker pools); of eres2netv2 `width`, `scale` and `expansion` (26, 2 and 2; the wide one has 24, 4 and
            4); of redimnet2 `group_norm` (true or false: sequences are normalised); of w2v_bert and wavlm `layers`
            (adapters, or weighted_sum: how the layers of the backbone are heard), `states` (so many of the last layers;
            all of them without it) and the sizes of the backbone, `width`, `depth`, `heads` and `inner` (1024, 24, 16
            and 4096); of wavlm `form` too (large, or base: samples are not normalised, and the sizes are 768, 12, 12
            and 3072) and `convolution` (512 channels); of a network of one's own whatever it takes.
        floor_db: what the network hears below the recording's level: white noise so many dB below it is added to the
            energies of the mel filters, so that digital silence decides nothing, and no gain. It is a part of the model
            and of its hash. null = no floor, as Kaldi has it.
        silence_share: how much digital silence is put behind the speech of a recording before it is embedded, as a
            share of its length, so that pauses which were emptied or cut out count less. The network needs a floor
            then. It is a part of the model and of its hash. null = none.
    """

    kind: Annotated[str, Field(max_length=200)] = DEFAULT_KIND
    size: Literal["b0", "b1", "b2", "b3", "b4", "b5", "b6"] | None = None
    channels: Annotated[int, Field(ge=4, le=4096, multiple_of=4)] = 512
    embedding_size: Annotated[int, Field(ge=2, le=4096)] = 192
    feature_size: Literal[1, 72, 80] = 80
    options: dict[str, bool | int | float | str] = Field(default={})
    floor_db: Annotated[float, Field(ge=0, le=120)] | None = None
    silence_share: Annotated[float, Field(ge=0, le=4)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _published_sizes_are_the_defaults(cls, content: object) -> object:
        if content is not None and not isinstance(content, dict):
            return content
        given = dict(content or {})
        if "architecture" in given and "kind" not in given:
            given["kind"] = given.pop("architecture")
        if given.get("kind") == "redimnet2" and given.get("size") is None:
            given["size"] = "b0"
        sizes = published_sizes(given.get("kind", DEFAULT_KIND), given.get("size"))
        return {**asdict(sizes), **given}

    @field_validator("size")
    @classmethod
    def _only_one_has_sizes(cls, size: str | None, info: ValidationInfo) -> str | None:
        if size is not None and info.data.get("kind") != "redimnet2":
            raise ValueError("only redimnet2 comes in sizes; leave it out, or set network.kind to redimnet2")
        return size

    @field_validator("feature_size")
    @classmethod
    def _few_hear_samples(cls, value: int, info: ValidationInfo) -> int:
        kind = str(info.data.get("kind", ""))
        if value == 1 and kind != "wavlm" and ":" not in kind:
            raise ValueError("1 means the samples themselves, which wavlm and networks of your own hear; others do not")
        return value

    @field_validator("floor_db")
    @classmethod
    def _lies_under_filterbanks(cls, value: float | None, info: ValidationInfo) -> float | None:
        if value is not None and info.data.get("feature_size") == 1:
            raise ValueError("is laid under filterbanks, and this network hears the samples themselves; leave it out")
        return value

    @field_validator("silence_share")
    @classmethod
    def _needs_a_floor(cls, value: float | None, info: ValidationInfo) -> float | None:
        if value is not None and info.data.get("floor_db") is None:
            raise ValueError("without a floor digital silence would decide: set network.floor_db too")
        return value
