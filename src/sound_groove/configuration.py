"""The typed schema of a training recipe.

The schema holds the defaults, the recipe file overrides it, and `key=value` words override the file. Nothing in a
configuration is executed, an unknown key is an error with the nearest valid name, and all mistakes are reported at
once.

Learning rates are stated for a total batch of `per_batch` utterances and scale linearly with the total batch, so that
the number of devices and of accumulation steps changes nothing (Goyal et al. 2017, section 2.1).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from sound_groove.errors import ConfigurationError
from sound_groove.settings import apply_override, read_yaml, sentence, write_yaml


def _in_order(bounds: tuple[float, float]) -> tuple[float, float]:
    if bounds[0] > bounds[1]:
        raise ValueError("must run from low to high")
    return bounds


def _distinct_with_one(speeds: tuple[float, ...]) -> tuple[float, ...]:
    if len(set(speeds)) < len(speeds):
        raise ValueError("must be different from each other")
    if 1.0 not in speeds:
        raise ValueError("must have 1.0 among them, the speed at which the model will be used")
    return speeds


Probability = Annotated[float, Field(ge=0, le=1)]
Speed = Annotated[float, Field(ge=0.5, le=2, multiple_of=0.01)]
Range = Annotated[tuple[float, float], AfterValidator(_in_order)]
PositiveRange = Annotated[tuple[Annotated[float, Field(gt=0)], float], AfterValidator(_in_order)]


class Section(BaseModel):
    """A part of a recipe: frozen, and strict about names."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, validate_default=True)

    @model_validator(mode="before")
    @classmethod
    def _empty_section_is_all_defaults(cls, content: object) -> object:
        return {} if content is None else content

    @field_validator("*", mode="before")
    @classmethod
    def _truth_is_not_a_number(cls, value: object, info: ValidationInfo) -> object:
        # YAML reads `yes` and `on` as true, and pydantic would read true as 1.
        if isinstance(value, bool) and cls.model_fields[str(info.field_name)].annotation is not bool:
            raise ValueError("must not be true or false (which yes, no, on and off mean in YAML)")
        return value


class NetworkConfiguration(Section):
    """The network that maps filterbank features to an embedding.

    Attributes:
        architecture: a name from `sound_groove.models`.
        channels: width C of the convolutional blocks; 512 and 1024 are the published sizes. A multiple of 8.
        embedding_size: D; 192 and 256 are usual.
        feature_size: mel bins F.
    """

    architecture: str = "ecapa_tdnn"
    channels: Annotated[int, Field(ge=8, le=4096, multiple_of=8)] = 512
    embedding_size: Annotated[int, Field(ge=2, le=4096)] = 192
    feature_size: Literal[80] = 80


class SamplerConfiguration(Section):
    """How utterances are drawn into batches.

    Attributes:
        kind: "pk" draws P speakers and K utterances of each; "shuffled" visits every utterance once an epoch.
        speakers: P, for "pk".
        utterances: K, for "pk".
        batch_size: utterances a batch, for "shuffled".
    """

    kind: Literal["pk", "shuffled"] = "pk"
    speakers: Annotated[int, Field(ge=1)] = 32
    utterances: Annotated[int, Field(ge=1)] = 4
    batch_size: Annotated[int, Field(ge=2)] = 128

    @property
    def total_batch(self) -> int:
        """Utterances in one optimiser step, over all devices."""
        return self.speakers * self.utterances if self.kind == "pk" else self.batch_size


class DataConfiguration(Section):
    """What is trained on.

    Attributes:
        prepared: the folder that `sound-groove prepare` wrote; a relative path starts at the working directory.
        input: "waveform" reads random crops of audio; "features" reads the stored `.pt` filterbanks.
        crop_frames: length of a crop in frames of 10 ms; shorter utterances are repeated.
        minimum_duration_s: utterances shorter than this are left out of training.
        workers: processes that read crops; 0 reads in the training process.
        sampler: how they are drawn into batches.
    """

    prepared: Path
    input: Literal["waveform", "features"] = "waveform"
    crop_frames: Annotated[int, Field(ge=20, le=6000)] = 200
    minimum_duration_s: Annotated[float, Field(ge=0)] = 0.0
    workers: Annotated[int, Field(ge=0, le=256)] = 2
    sampler: SamplerConfiguration = SamplerConfiguration()


class AugmentationConfiguration(Section):
    """Speed, and noise and reverberation made up inside the batch, on the training device.

    Each item draws for itself. A speed makes another voice of a voice, so each speed of each speaker is a class of its
    own. Noise is coloured Gaussian noise, or babble of other items of the batch.
    Reverberation is a synthetic room response: exponentially decaying noise behind a direct path (Polack 1988).

    Attributes:
        speeds: at which crops are played, each as likely as the others, such as 0.9, 1.0 and 1.1; steps of 0.01.
        noise_probability: share of items that get noise.
        babble_share: of those, the share whose noise is babble.
        snr_db: range of the signal-to-noise ratio.
        reverberation_probability: share of items that get reverberation.
        rt60_s: range of the reverberation time.
        telephone_probability: share of items limited to the telephone band (below about 3.4 kHz).
        gain_db: range of the gain; it matters only beside dither, since the mean of the features is removed.
    """

    speeds: Annotated[tuple[Speed, ...], AfterValidator(_distinct_with_one)] = (1.0,)
    noise_probability: Probability = 0.0
    babble_share: Probability = 0.3
    snr_db: Range = (0.0, 20.0)
    reverberation_probability: Probability = 0.0
    rt60_s: PositiveRange = (0.1, 0.8)
    telephone_probability: Probability = 0.0
    gain_db: Range = (0.0, 0.0)

    @property
    def changes_waveforms(self) -> bool:
        """Whether any of it is switched on."""
        return any((self.noise_probability, self.reverberation_probability, self.telephone_probability)) or (
            self.gain_db != (0.0, 0.0)
        )


class MarginConfiguration(Section):
    """The margin of AAM-Softmax over the epochs: `initial` until `start_epoch`, `final` from `end_epoch` on.

    Attributes:
        initial: margin in radians before the rise.
        final: margin in radians after it.
        start_epoch: epoch (may be a fraction, counted from 0) at which the rise begins.
        end_epoch: epoch at which it ends.
        growth: "linear", or "exponential": fast first, as 1 - 0.001^x of the way at the fraction x of the rise.
    """

    initial: Annotated[float, Field(ge=0, lt=1.5)] = 0.0
    final: Annotated[float, Field(ge=0, lt=1.5)] = 0.2
    start_epoch: Annotated[float, Field(ge=0)] = 0.0
    end_epoch: Annotated[float, Field(ge=0)] = 0.0
    growth: Literal["linear", "exponential"] = "exponential"

    @field_validator("end_epoch")
    @classmethod
    def _rise_is_ordered(cls, end_epoch: float, info: ValidationInfo) -> float:
        start_epoch = info.data.get("start_epoch", 0.0)
        if end_epoch < start_epoch:
            raise ValueError(f"must not lie before start_epoch ({start_epoch:g})")
        return end_epoch


class LossConfiguration(Section):
    """AAM-Softmax (Deng et al. 2019).

    Attributes:
        kind: the only one so far.
        scale: s, by which cosines are multiplied.
        subcenters: centres per speaker (Deng et al. 2020); 1 is plain AAM-Softmax.
        margin: the margin over the epochs.
    """

    kind: Literal["aam_softmax"] = "aam_softmax"
    scale: Annotated[float, Field(gt=0, le=128)] = 32.0
    subcenters: Annotated[int, Field(ge=1, le=16)] = 1
    margin: MarginConfiguration = MarginConfiguration()


class OptimizerConfiguration(Section):
    """The optimiser.

    Attributes:
        kind: "sgd" with momentum, or "adamw".
        momentum: for SGD.
        nesterov: for SGD.
        weight_decay: L2 penalty (SGD) or decoupled decay (AdamW), of biases and normalisation weights too.
    """

    kind: Literal["sgd", "adamw"] = "sgd"
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    nesterov: bool = True
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4


class LearningRateConfiguration(Section):
    """The learning rate over the epochs: linear warm-up to `peak`, then decay to `final`.

    Attributes:
        peak: highest rate, for a total batch of `per_batch`.
        final: rate at the last step, for a total batch of `per_batch`.
        per_batch: the total batch for which the rates are stated; the rates scale linearly with the total batch.
        warmup_epochs: length of the warm-up, may be a fraction.
        decay: "exponential", "cosine" or "constant".
    """

    peak: Annotated[float, Field(gt=0)] = 0.1
    final: Annotated[float, Field(gt=0)] = 5e-5
    per_batch: Annotated[int, Field(ge=1)] = 64
    warmup_epochs: Annotated[float, Field(ge=0)] = 1.0
    decay: Literal["exponential", "cosine", "constant"] = "exponential"


class TrainingConfiguration(Section):
    """How long, on what, and how carefully.

    Attributes:
        epochs: passes over the data.
        batches_per_epoch: optimiser steps an epoch; by default as many as the utterances fill.
        device: "auto" takes a GPU when there is one.
        precision: "bf16", "fp16" (GPU only) or "fp32"; on a CPU without AVX-512 or AMX, "fp32" is much faster.
        gradient_clip: largest norm of the gradient; 0 switches clipping off.
        gradient_accumulation: parts into which each batch is cut, to fit into memory.
        dither: standard deviation of the features' dither, in 16-bit steps.
        checkpoint_every: steps between writings of last.safetensors, beside the end of each epoch; 0 = only there.
        log_every: steps between entries in steps.jsonl and TensorBoard.
        compile: whether to compile the network with torch.compile.
    """

    epochs: Annotated[int, Field(ge=1)] = 60
    batches_per_epoch: Annotated[int, Field(ge=1)] | None = None
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    precision: Literal["bf16", "fp16", "fp32"] = "bf16"
    gradient_clip: Annotated[float, Field(ge=0)] = 5.0
    gradient_accumulation: Annotated[int, Field(ge=1)] = 1
    dither: Annotated[float, Field(ge=0)] = 0.0
    checkpoint_every: Annotated[int, Field(ge=0)] = 500
    log_every: Annotated[int, Field(ge=1)] = 10
    compile: bool = False


class ValidationConfiguration(Section):
    """How each epoch is judged on the held-out speakers.

    Attributes:
        every_epochs: epochs between validations; the last epoch is always validated.
        maximum_utterances: at most this many utterances are embedded, spread evenly over the speakers.
        maximum_duration_s: longer utterances are cut to their first part.
    """

    every_epochs: Annotated[int, Field(ge=1)] = 1
    maximum_utterances: Annotated[int, Field(ge=4, le=10_000)] = 2000
    maximum_duration_s: Annotated[float, Field(ge=0.5)] = 20.0


class Recipe(Section):
    """A whole recipe.

    Attributes:
        name: the run is written to `outputs/<name>`, and the model bears it.
        seed: of every random draw.
        description: a sentence for the model file, such as data and licence.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    description: str = ""
    data: DataConfiguration
    network: NetworkConfiguration = NetworkConfiguration()
    augmentation: AugmentationConfiguration = AugmentationConfiguration()
    loss: LossConfiguration = LossConfiguration()
    optimizer: OptimizerConfiguration = OptimizerConfiguration()
    learning_rate: LearningRateConfiguration = LearningRateConfiguration()
    training: TrainingConfiguration = TrainingConfiguration()
    validation: ValidationConfiguration = ValidationConfiguration()


def load_recipe(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe file and the `key=value` words that override it.

    Args:
        path: a YAML file.
        overrides: words such as "training.epochs=3"; the value is read as YAML.

    Raises:
        ConfigurationError: the file cannot be read, or anything in it or in the words is wrong; all mistakes at once.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigurationError(str(path), ["there is no such file; ready ones lie in recipes/"]) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(str(path), [f"cannot be read as text: {error}"]) from None
    problems: list[str] = []
    content = read_yaml(text, problems)
    if not problems and not isinstance(content, dict):
        problems.append("must be a YAML mapping of settings" + ("; it is empty" if content is None else ""))
    if not isinstance(content, dict):
        raise ConfigurationError(str(path), problems)
    problems += [problem for word in overrides for problem in apply_override(content, word)]
    return parse_recipe(content, source=str(path), problems=problems)


def parse_recipe(content: Mapping[str, object], source: str = "recipe", problems: Sequence[str] = ()) -> Recipe:
    """Check settings against the schema.

    Args:
        content: the settings, nested as in the file.
        source: what to name in the error.
        problems: mistakes found earlier, to be reported together.

    Raises:
        ConfigurationError: with every mistake.
    """
    found = list(problems)
    try:
        recipe = Recipe.model_validate({str(key): value for key, value in content.items()})
    except ValidationError as error:
        found += [sentence(dict(problem), Recipe) for problem in error.errors(include_url=False)]
    if found:
        raise ConfigurationError(source, found)
    return recipe


def dump_recipe(recipe: Recipe) -> str:
    """The resolved recipe as YAML text; `load_recipe` gives the same recipe back."""
    return write_yaml(recipe.model_dump(mode="json"))
