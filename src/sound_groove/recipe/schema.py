"""The typed schema of a training recipe.

Learning rates are stated for a total batch of `per_batch` utterances and scale linearly with the total batch, so that
the number of devices and of accumulation steps changes nothing (Goyal et al. 2017, section 2.1).
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from sound_groove.recipe.distillation import DistillationConfiguration
from sound_groove.recipe.loss import LossConfiguration
from sound_groove.recipe.material import AugmentationConfiguration, DataConfiguration
from sound_groove.recipe.network import NetworkConfiguration
from sound_groove.recipe.section import Section


class OptimizerConfiguration(Section):
    """The optimiser.

    Attributes:
        kind: "sgd" with momentum, "adamw", or "muon": orthogonal steps for the network's matrices, AdamW for the rest.
        momentum: for SGD.
        nesterov: for SGD.
        weight_decay: L2 penalty (SGD) or decoupled decay (AdamW, Muon), of biases and normalisation weights too.
        head_rate: by what the learning rate is multiplied for the class weights; more than 1 lets a new head catch up
            with a network that has been trained before.
    """

    kind: Literal["sgd", "adamw", "muon"] = "sgd"
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    nesterov: bool = True
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    head_rate: Annotated[float, Field(gt=0, le=1000)] = 1.0


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
        precision: "bf16", "fp16" (CUDA only) or "fp32"; "auto" takes bf16 where the GPU or the CPU has instructions for
            it, and fp32 elsewhere, where bf16 would be several times as slow. A run that is resumed keeps what it began
            with.
        gradient_clip: largest norm of the gradient; 0 switches clipping off.
        gradient_accumulation: parts into which each batch is cut, to fit into memory.
        dither: standard deviation of the features' dither, in 16-bit steps.
        start_from: a model file or run folder whose network training starts from, with a new head: fine-tuning.
            `pretrained` is the model in the package.
        backbone: for `network.kind: w2v_bert` and `wavlm`, where the weights of the backbone begin: a folder that holds
            config.json and model.safetensors, or a name on the Hugging Face hub, `facebook/w2v-bert-2.0`, perhaps with
            a revision (`owner/name@revision`), which is downloaded. The model file holds them afterwards, and needs
            neither.
        frozen_backbone: whether the backbone stays as it is, and only what hears its layers is trained.
        new_head: where that head begins: at the mean embedding of a few utterances of each class, or at random.
        frozen_steps: optimiser steps at first in which the network stays as it is and only the head learns.
        average_epochs: after the last epoch, the mean of the weights of this many epochs is judged as well, and kept if
            it is the best; a next stage starts from it. 0 switches it off.
        moving_average: for `distillation.of: crop`, by what the running mean of the weights, which is the model, is
            multiplied at each step; 0 takes the weights themselves.
        checkpoint_every: steps between writings of last.safetensors, beside the end of each epoch; 0 = only there.
        log_every: steps between entries in steps.jsonl and TensorBoard.
        compile: whether to compile the network with torch.compile.
    """

    epochs: Annotated[int, Field(ge=1)] = 60
    batches_per_epoch: Annotated[int, Field(ge=1)] | None = None
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    precision: Literal["auto", "bf16", "fp16", "fp32"] = "auto"
    gradient_clip: Annotated[float, Field(ge=0)] = 5.0
    gradient_accumulation: Annotated[int, Field(ge=1)] = 1
    dither: Annotated[float, Field(ge=0)] = 0.0
    start_from: Path | None = None
    backbone: Annotated[str, Field(max_length=400)] | None = None
    frozen_backbone: bool = True
    new_head: Literal["means", "random"] = "means"
    frozen_steps: Annotated[int, Field(ge=0)] = 0
    average_epochs: Annotated[int, Field(ge=0)] = 0
    moving_average: Annotated[float, Field(ge=0, lt=1)] = 0.999
    checkpoint_every: Annotated[int, Field(ge=0)] = 500
    log_every: Annotated[int, Field(ge=1)] = 10
    compile: bool = False


class ValidationConfiguration(Section):
    """How each epoch is judged on the held-out speakers.

    Attributes:
        every_epochs: epochs between validations; the last epoch is always validated.
        maximum_utterances: at most this many utterances are embedded, spread evenly over the speakers.
        maximum_duration_s: longer utterances are cut to their first part.
        centre_utterances: training utterances, spread evenly over the speakers, whose mean embedding the model
            subtracts from every embedding; it is found anew for each validation. 0 subtracts nothing.
        trials: a folder of trial lists (*.txt) that judge in place of the held-out speakers, by the mean of their EERs;
            for `distillation.of: crop`.
        audio_root: folder to which the lists' paths are relative.
    """

    every_epochs: Annotated[int, Field(ge=1)] = 1
    maximum_utterances: Annotated[int, Field(ge=4, le=10_000)] = 2000
    maximum_duration_s: Annotated[float, Field(ge=0.5)] = 20.0
    centre_utterances: Annotated[int, Field(ge=0, le=100_000)] = 500
    trials: Path | None = None
    audio_root: Path | None = None


class Recipe(Section):
    """A whole recipe.

    Attributes:
        name: the run is written to `outputs/<name>`, and the model bears it.
        seed: of every random draw.
        description: a sentence for the model file, such as data and licence.
        stages: later stages of training. Each is a mapping of the settings that differ in it, written as in the recipe;
            its `training.epochs` must be among them. It starts from the weights of the stage before (from their mean,
            where `training.average_epochs` asks for one) with a fresh optimiser, and the best model of all stages is
            kept.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    description: str = ""
    data: DataConfiguration
    network: NetworkConfiguration = NetworkConfiguration()
    augmentation: AugmentationConfiguration = AugmentationConfiguration()
    loss: LossConfiguration = LossConfiguration()
    distillation: DistillationConfiguration = DistillationConfiguration()
    optimizer: OptimizerConfiguration = OptimizerConfiguration()
    learning_rate: LearningRateConfiguration = LearningRateConfiguration()
    training: TrainingConfiguration = TrainingConfiguration()
    validation: ValidationConfiguration = ValidationConfiguration()
    stages: tuple[dict[str, Any], ...] = ()

    @property
    def items_per_batch(self) -> int:
        """Crops in one optimiser step, over all devices, unlabelled ones too."""
        return self.data.sampler.total_batch + self.distillation.unlabelled_items
