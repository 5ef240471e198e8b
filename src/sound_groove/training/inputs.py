"""What the network is given in a stage of training: crops that are played, augmented and turned into features.

    crops -> speed -> augmentation -> silence behind -> filterbanks -> level and floor, mean removal -> masking

A network that hears the samples themselves is given them where the others have their filterbanks.

A crop's level, where the network has a floor, is its own: what is played, in its room and noise, is all that is known.
Crops come from reading processes; the rest runs batched on the training device. Where that is the CPU, whose cores the
reading processes have as well, they do the rest too: each of them a whole batch in one thread, so that none waits for
another.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import pad

from sound_groove.audio.filterbank import LOG_FLOOR
from sound_groove.inputs.augment import Augmentation
from sound_groove.inputs.dataset import Batch, BatchSource, CropReader, Item
from sound_groove.inputs.masking import mask_features
from sound_groove.inputs.speed import play
from sound_groove.networks.hearing import build_hearing, build_normalization
from sound_groove.networks.torch_threads import torch_threads
from sound_groove.synthesis.batch_draws import SharedBatch
from sound_groove.synthesis.draws import Draw
from sound_groove.training.plan import TrainingPlan
from sound_groove.training.stages import Stage

SILENT_FEATURE = math.log(LOG_FLOOR)  # of digital silence, in each mel filter


class StageInputs:
    """The reader of a stage's crops, and what makes features of them.

    Args:
        stage: the one.
        plan: of the whole run, which has the classes' speeds.
        shared: which items of a batch this process has.
        device: to compute on.
    """

    def __init__(self, stage: Stage, plan: TrainingPlan, shared: SharedBatch, device: torch.device) -> None:
        recipe, speeds = stage.recipe, plan.recipe.augmentation.speeds
        self.reader = CropReader(
            plan.read,
            plan.read_labels,
            recipe.data.crop_frames,
            recipe.seed,
            recipe.data.input == "features",
            speeds,
            tuple(speeds.index(speed) for speed in recipe.augmentation.speeds),
            stage.surroundings,
        )
        self._seed, self._shared = recipe.seed, shared
        self._augmentation = Augmentation(recipe.augmentation)
        self._silence_share = recipe.network.silence_share or 0.0
        self._masking = recipe.augmentation.masking
        size = recipe.network.feature_size
        self._front_end = build_hearing(size, recipe.training.dither).to(device)
        self._normalization = build_normalization(size, recipe.network.floor_db).to(device)

    def source(self, workers: int) -> BatchSource:
        """What reading processes make batches with.

        Args:
            workers: how many there will be; without any there is nobody to relieve of work.
        """
        alone = self._shared.processes == 1  # babble is of the total batch, which only the training processes can share
        return _ReadyBatches(self) if workers and alone and self._shared.device.type == "cpu" else self.reader

    @torch.no_grad()
    def features(self, batch: Batch, *place: int) -> Tensor:
        """Augmented features of a batch (B, T, F), normalised crop by crop as the network asks for it.

        On a CPU it takes one thread, as in a reading process: a sum that is shared out differently is rounded
        differently, and the number of reading processes must change nothing.

        Args:
            batch: on the device.
            place: epoch and batch: all that an item's draws depend on, beside the seed and its place in the batch.
        """
        if batch.ready:
            return batch.inputs
        with torch_threads(1 if batch.inputs.device.type == "cpu" else None):
            return self._features(batch, *place)

    def _features(self, batch: Batch, *place: int) -> Tensor:
        count = len(batch.inputs)
        if self.reader.stored_features:
            silent = round(self._silence_share * batch.inputs.shape[1])
            features = self._normalization(pad(batch.inputs, (0, 0, 0, silent), value=SILENT_FEATURE))
        else:
            draws = self._shared.draws(count, self._seed, Draw.AUGMENTATION, *place)
            waveforms = play(batch.inputs, batch.speeds, self.reader.speeds, self.reader.samples)
            waveforms = self._augmentation(waveforms, draws, batch.surroundings)
            waveforms = pad(waveforms, (0, round(self._silence_share * waveforms.shape[1])))
            everyone = torch.arange(count, device=waveforms.device)
            noise = draws.normal(everyone, waveforms.shape[1]) if self._front_end.dither else None
            features = self._normalization(self._front_end(waveforms, noise))
        return mask_features(features, self._masking, self._shared.draws(count, self._seed, Draw.MASKING, *place))


class _ReadyBatches:
    """Makes batches of features."""

    def __init__(self, inputs: StageInputs) -> None:
        self._inputs = inputs

    def read_batch(self, items: Sequence[Item]) -> Batch:
        """Features of a whole batch; arguments and errors as for `CropReader.read_batch`."""
        batch = self._inputs.reader.read_batch(items).to(torch.device("cpu"))
        _, epoch, place = items[0]
        features = self._inputs.features(batch, epoch, place // len(items))
        return replace(batch, inputs=features, surroundings=None, ready=True)
