"""The `loss` section of a recipe: margin, scale and how they change in the course of training."""

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from sound_groove.recipe.section import Probability, Section


class RiseConfiguration(Section):
    """A value over the epochs: `initial` until `start_epoch`, `final` from `end_epoch` on."""

    initial: float
    final: float
    start_epoch: Annotated[float, Field(ge=0)] = 0.0
    end_epoch: Annotated[float, Field(ge=0)] = 0.0
    growth: Literal["linear", "exponential", "adaptive"] = "exponential"
    accuracy: Probability = 0.7

    @field_validator("end_epoch")
    @classmethod
    def _rise_is_ordered(cls, end_epoch: float, info: ValidationInfo) -> float:
        start_epoch = info.data.get("start_epoch", 0.0)
        if end_epoch < start_epoch:
            raise ValueError(f"must not lie before start_epoch ({start_epoch:g})")
        return end_epoch

    @field_validator("growth")
    @classmethod
    def _rise_takes_time(cls, growth: str, info: ValidationInfo) -> str:
        if growth == "adaptive" and info.data.get("end_epoch", 1.0) <= info.data.get("start_epoch", 0.0):
            raise ValueError("'adaptive' needs an end_epoch after start_epoch: together they say how fast it may rise")
        return growth


class MarginConfiguration(RiseConfiguration):
    """The margin of the loss over the epochs: `initial` until `start_epoch`, `final` from `end_epoch` on.

    Attributes:
        initial: margin before the rise, in radians (of SphereFace2 in cosines, unless `loss.margin_of` is "angle").
        final: margin in radians after it.
        start_epoch: epoch (may be a fraction, counted from 0) at which the rise begins.
        end_epoch: epoch at which it ends.
        growth: "linear"; or "exponential": fast first, as 1 - 0.001^x of the way at the fraction x of the rise; or
            "adaptive": linear while the network keeps up with it, and down again where it does not.
        accuracy: for "adaptive", the training accuracy (without margin, over about the last 100 batches) at which the
            margin rises; it falls where the accuracy is more than 0.1 below.
    """

    initial: Annotated[float, Field(ge=0, lt=1.5)] = 0.0
    final: Annotated[float, Field(ge=0, lt=1.5)] = 0.2


class ScaleConfiguration(RiseConfiguration):
    """The scale of the loss, by which cosines are multiplied, over the epochs; a number alone keeps it as it is.

    Attributes:
        initial: scale before the rise.
        final: scale after it.
        start_epoch: as for the margin.
        end_epoch: as for the margin.
        growth: as for the margin.
        accuracy: as for the margin.
    """

    initial: Annotated[float, Field(gt=0, le=128)] = 32.0
    final: Annotated[float, Field(gt=0, le=128)] = 32.0

    @model_validator(mode="before")
    @classmethod
    def _number_is_a_scale_that_stays(cls, content: object) -> object:
        is_number = isinstance(content, int | float) and not isinstance(content, bool)
        return {"initial": content, "final": content} if is_number else content


class LossConfiguration(Section):
    """What is learnt from labels: AAM-Softmax (Deng et al. 2019), with the option of the inter-top-k penalty, or
    SphereFace2 (Wen et al. 2022); both with the option of sub-centres.

    Attributes:
        kind: "aam_softmax", one choice among all speakers; or "sphereface2", a question for each of them.
        scale: s, by which cosines are multiplied; a number, or how it changes over the epochs.
        subcenters: centres per speaker (Deng et al. 2020); 1 is plain AAM-Softmax.
        margin: the margin over the epochs.
        top_k: how many wrong speakers, those nearest to the utterance, are penalised (inter-top-k, Zhao et al. 2022);
            0 = none.
        penalty: how much nearer they are made to seem, in radians. It rises as the margin does: it is in full force
            when the margin has reached its final value.
        balance: for "sphereface2", the share of the right speaker's question in the loss; the others have the rest.
        exponent: for "sphereface2", t: how far apart the scores of like and unlike are drawn.
        margin_of: for "sphereface2", whether the margin is one of cosines ("cosine"; usual are 0.2, and 0.3 for tuning)
            or of angles in radians ("angle"; 0.15 and 0.25).
    """

    kind: Literal["aam_softmax", "sphereface2"] = "aam_softmax"
    scale: ScaleConfiguration = ScaleConfiguration()
    subcenters: Annotated[int, Field(ge=1, le=16)] = 1
    margin: MarginConfiguration = MarginConfiguration()
    top_k: Annotated[int, Field(ge=0, le=100)] = 0
    penalty: Annotated[float, Field(ge=0, lt=1.5)] = 0.06
    balance: Annotated[float, Field(gt=0, lt=1)] = 0.7
    exponent: Annotated[int, Field(ge=1, le=20)] = 3
    margin_of: Literal["cosine", "angle"] = "cosine"
