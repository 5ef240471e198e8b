"""The training loop: one loop, on Accelerate, that can be read from top to bottom.

    crops -> augmentation -> filterbanks -> mean removal -> network -> AAM-Softmax -> gradient -> step

Everything random is a function of (seed, epoch, item), everything scheduled a function of the place in training, and
what is left is in the state that `last.safetensors` holds. So a run that was killed and resumed gives, on a CPU, the
losses of the run that was not, bit for bit.
"""

import math
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import broadcast_object_list, gather_object
from numpy.typing import NDArray

from sound_groove.errors import CheckpointError, TrainingError
from sound_groove.files import write_json
from sound_groove.inputs.dataset import DEAD_WORKER, Batch, training_batches
from sound_groove.inputs.mining import SPARE, HardSampler, find_neighbours
from sound_groove.inputs.sampler import MixedSampler, Sampler, ShuffledSampler
from sound_groove.networks.checkpoint import Checkpoint
from sound_groove.progress import ProgressBar
from sound_groove.provenance import host
from sound_groove.recipe.schema import Recipe
from sound_groove.synthesis.batch_draws import SharedBatch
from sound_groove.synthesis.draws import Draw
from sound_groove.training.averaging import WeightMean
from sound_groove.training.batch_norm import share_batch_norm
from sound_groove.training.by_ear.plan import plan_by_ear
from sound_groove.training.by_ear.trainer import train_by_ear
from sound_groove.training.device import check_agreement
from sound_groove.training.distillation import Lesson, Teaching
from sound_groove.training.facts import failure_report, run_facts
from sound_groove.training.imprinting import class_means, imprint
from sound_groove.training.inputs import StageInputs
from sound_groove.training.log import EpochDone
from sound_groove.training.model import Shares, TrainingModel, encoder_around, make_modules, make_optimizer, set_rate
from sound_groove.training.pace import Pace
from sound_groove.training.plan import TrainingPlan
from sound_groove.training.preflight import preflight
from sound_groove.training.result import TrainingResult
from sound_groove.training.run import TrainingRun
from sound_groove.training.run_folder import RunFolder, run_folder
from sound_groove.training.schedule import learning_rate
from sound_groove.training.stages import Stage
from sound_groove.training.state import (
    mean_tensors,
    mining_tensors,
    model_tensors,
    optimizer_tensors,
    restore,
    restore_mean,
    restore_neighbours,
)
from sound_groove.training.teacher import Teacher, ask, centred
from sound_groove.training.validation import Validation, find_centre, validate
from sound_groove.training.watching import Watched

PRECISIONS = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}


def train(
    recipe: Recipe,
    folder: str | Path | None = None,
    resume: bool = False,
    force: bool = False,
    command: str = "",
    say: Callable[[str], None] = lambda line: None,
) -> TrainingResult:
    """Train a recipe into a run folder.

    Args:
        recipe: what to train, and how.
        folder: the run folder; `outputs/<name>` when None.
        resume: go on with the run that lies there.
        force: replace the run that lies there.
        command: the command line, to be kept with the run.
        say: is given what a person would want to read: the preflight's summary and a line for each epoch.

    Raises:
        ConfigurationError: the preflight found mistakes; all of them at once.
        TrainingError: the loss became something other than a number, or a file cannot be read any more.
        CheckpointError: the state to go on from is damaged.
        OutputError: the run folder cannot be written.
    """
    run = run_folder(recipe, folder)
    if recipe.distillation.of == "crop":
        return train_by_ear(recipe, run, resume, force, command, say)
    plan = preflight(recipe, run, resume, force)
    try:
        with _accelerator(plan) as accelerator:
            return Trainer(plan, run, accelerator, command, say).run(resume)
    except RuntimeError as error:  # torch's signal handler raises it wherever the program is, the clearing away too
        if "DataLoader worker" not in str(error):
            raise
        raise TrainingError(DEAD_WORKER) from error


def check(recipe: Recipe, folder: str | Path | None = None, resume: bool = False, force: bool = False) -> str:
    """What would be trained, in a few lines for people; arguments and errors as for `train`."""
    run = run_folder(recipe, folder)
    if recipe.distillation.of == "crop":
        return plan_by_ear(recipe, run, resume, force).summary()
    return preflight(recipe, run, resume, force).summary()


class Trainer(TrainingRun):
    """One run in progress, over its stages; `train` is the way in.

    Args:
        plan: what the preflight made of the recipe.
        folder: where to.
        accelerator: device, precision and processes.
        command: kept with the run.
        say: talks to a person.

    Attributes:
        stage: under way.
        recipe: the one in force, which is the stage's.
        inputs: what the network is given in the stage.
        model: network, classes and what a teacher needs: what is saved, averaged and judged.
        shared_model: the same, as the processes that share the run call it in a step.
    """

    def __init__(
        self,
        plan: TrainingPlan,
        folder: RunFolder,
        accelerator: Accelerator,
        command: str,
        say: Callable[[str], None],
    ) -> None:
        facts = run_facts(plan, host(), command, accelerator.num_processes)
        super().__init__(plan.recipe, folder, facts, plan.speaker_digests, say, accelerator.is_main_process)
        self.plan, self.accelerator = plan, accelerator
        check_agreement(gather_object([plan.precision]))
        teacher_size = None if plan.teacher is None else plan.teacher.embedding_size
        network, head, pupil = make_modules(plan.recipe, plan.classes, teacher_size)
        if accelerator.num_processes > 1:
            network = share_batch_norm(network, accelerator.device)
        optimizer = make_optimizer(plan.recipe.optimizer, network, head, pupil, plan.precision)
        if plan.recipe.training.compile:
            network.compile()
        self.model = TrainingModel(network, head, pupil)
        self.shared_model, self.optimizer = accelerator.prepare(self.model, optimizer)
        self.encoder = encoder_around(network, plan.recipe)
        self.mean = WeightMean()
        self.neighbours: NDArray[np.int64] | None = None  # of each speaker, where hard negatives are mined
        self.teaching: Teaching | None = None  # where there is a teacher
        self.trust = None if plan.trust is None else torch.from_numpy(plan.trust)  # in the labels of what is read
        self._set_stage(plan.stages[0])

    def _begin(self, resume: bool) -> None:
        for line in self.plan.summary().split("\n"):
            self.say(line)
        if (state := self._newest_state(resume)) is not None:
            self._restore(state)
        else:
            self._start()
        self._open_folder(resume)
        self.accelerator.wait_for_everyone()
        if self.plan.teacher is not None:
            self.teaching = self._teaching(self.plan.teacher)

    def _train(self) -> None:
        self.pace = Pace(self._crops_left(), self.say)
        while (stage := self.plan.stage_at(self.progress.epoch)) is not None:
            self._enter(stage)
            # Where hard negatives are mined, the reading processes can only know the epoch that is about to begin.
            mines = isinstance(stage.sampler, HardSampler)
            while self.progress.epoch < stage.end_epoch:
                end = self.progress.epoch + 1 if mines else stage.end_epoch
                with closing(self._batches(end)) as batches:
                    while self.progress.epoch < end:
                        self._epoch(batches)

    def _trust(self, batch: Batch) -> torch.Tensor | None:
        """(B,) how far the labels of a batch are trusted."""
        return None if self.trust is None else self.trust[batch.utterances.cpu()].to(self.accelerator.device)

    def _crops_left(self) -> int:
        """Crops of all steps that are still to be taken."""
        epoch, batch = self.progress.epoch, self.progress.batch
        left = 0
        for stage in self.plan.stages:
            epochs = stage.end_epoch - max(stage.first_epoch, epoch)
            steps = epochs * stage.sampler.batches_per_epoch - (batch if stage is self.plan.stage_at(epoch) else 0)
            left += max(0, steps) * stage.recipe.items_per_batch
        return left

    def _epoch(self, source: Iterator[Batch]) -> None:
        """One epoch: its batches, its validation, its line in the log, its checkpoints."""
        batches, first, started = self.stage.sampler.batches_per_epoch, self.progress.batch, time.monotonic()
        self.pace.begin_epoch()
        watched = Watched(islice(source, batches - first))
        title = f"epoch {self.progress.epoch + 1}/{self.plan.epochs}"
        with ProgressBar(
            watched,
            desc=title,
            initial=first,
            total=batches,
            unit="batch",
            leave=False,
            disable=None if self.is_main else True,
        ) as bar:
            for batch in bar:
                row = self._step(batch)
                bar.set_postfix(loss=f"{row['loss']:.3f}", accuracy=f"{100 * row['accuracy']:.0f}%", refresh=False)
                if bar.disable and self.is_main:
                    where = f"{title}, batch {self.progress.batch:,}/{batches:,}"
                    self.pace.step(where, self.recipe.items_per_batch, row["loss"])
                if self._is_checkpoint_due() and self.progress.batch < batches:
                    self._save_last()
        crops = (batches - first) * self.recipe.items_per_batch
        done = EpochDone.of(self.progress, batches, crops, time.monotonic() - started, watched.waited_s)
        self.progress = self.progress.after_epoch()
        self._add_to_mean()
        judged = self._validate()
        judged_mean = self._validate_mean()
        if self.log is not None:
            self.say(self.log.add_epoch(self.progress, done, judged, judged_mean, self.mean.count))
        self._save_last()

    def _step(self, batch: Batch) -> dict[str, Any]:
        """One optimiser step on one total batch, its gradient computed part by part; returns its row for the log."""
        recipe, progress, count = self.recipe, self.progress, self.recipe.training.gradient_accumulation
        place = self.stage.place(progress.epoch, progress.batch)
        # The rate is that of the step's end, so that the first step moves, and the last is last.
        next_place = self.stage.place(progress.epoch, progress.batch + 1)
        rate = learning_rate(recipe.learning_rate, next_place, recipe.training.epochs, recipe.data.sampler.total_batch)
        is_frozen = progress.step < recipe.training.frozen_steps
        set_rate(self.optimizer.optimizer, recipe.optimizer, rate, is_frozen)
        self.model.follow(recipe, place, progress)
        self.shared_model.train()
        self.model.network.train(not is_frozen)  # frozen, its normalisation keeps the statistics that it has

        batch = batch.to(self.accelerator.device)
        features = self.inputs.features(batch, progress.epoch, progress.batch)  # (B, T, F)
        lessons, shares = self._lessons(batch, count)
        sums = torch.zeros(3, device=self.accelerator.device)
        parts = replace(batch, inputs=features).split(count)
        for number, (part, lesson) in enumerate(zip(parts, lessons, strict=True), start=1):
            with self.accelerator.no_sync(self.shared_model) if number < count else nullcontext():
                # The network, then the losses.
                outcome = self.shared_model(part.inputs, part.labels, shares, lesson, self._trust(part))
                self.accelerator.backward(outcome.loss / count)
            sums += torch.stack([value.detach() for value in outcome]) / count
        loss, accuracy, distance = self.accelerator.reduce(sums, reduction="mean").tolist()
        norm = self.accelerator.clip_grad_norm_(self.model.parameters(), recipe.training.gradient_clip or math.inf)

        row = {
            "step": progress.step + 1,
            "epoch": progress.epoch + 1,
            "place": self.stage.first_epoch + next_place,
            "loss": loss,
            "accuracy": accuracy,
            "learning_rate": rate,
            "margin": self.model.head.margin,
            "scale": self.model.head.scale,
            "gradient_norm": float(norm),
        }
        if self.teaching is not None:
            row["teacher_distance"] = distance
        self._check_finite(row, batch)
        self.optimizer.step()
        self.optimizer.zero_grad()
        progress = progress.after_batch(loss, accuracy)
        self.progress = progress.adapted(recipe.loss, place, self.stage.sampler.batches_per_epoch)
        if self.log is not None and self.progress.step % recipe.training.log_every == 0:
            self.log.add_step(row)
        return row

    def _lessons(self, batch: Batch, parts: int) -> tuple[Sequence[Lesson | None], Shares]:
        """What the teacher says of each part of a batch, and how many items of each kind such a part has on average."""
        shared_by = parts * self.accelerator.num_processes
        labelled = self.recipe.data.sampler.total_batch / shared_by
        if self.teaching is None:
            return [None] * parts, Shares(labelled)
        lesson = self.teaching.lesson(batch)
        taught = self.accelerator.reduce(lesson.taught.sum().float(), reduction="sum")
        return lesson.split(parts), Shares(labelled, float(taught) / shared_by)

    def _check_finite(self, row: dict[str, Any], batch: Batch) -> None:
        """Stop before a loss or gradient that is not a number reaches the weights, and say what led to it.

        An fp16 gradient that overflowed is ordinary: the scaler skips the step and lowers its scale.
        """
        if math.isfinite(row["loss"]) and (math.isfinite(row["gradient_norm"]) or self.plan.precision == "fp16"):
            return
        what = "gradient" if math.isfinite(row["loss"]) else "loss"
        if self.log is not None:
            keys = [self.plan.read[int(index)].key for index in batch.utterances]
            before = self.log.last_steps(20)
            write_json(self.folder.failure, failure_report(what, row, batch, self.model, keys, before))
        raise TrainingError(
            f"the {what} is not a finite number at step {row['step']} (epoch {row['epoch']}, learning rate "
            f"{row['learning_rate']:.3g}, margin {row['margin']:.3g}); {self.folder.failure} says what led to it; "
            "a lower learning_rate.peak, a longer warm-up or training.gradient_clip may help"
        )

    def _set_stage(self, stage: Stage) -> None:
        """Let a stage's recipe be in force."""
        self.stage, self.recipe = stage, stage.recipe
        self.inputs = StageInputs(stage, self.plan, self._shared_batch(), self.accelerator.device)

    def _shared_batch(self) -> SharedBatch:
        """Which items of every total batch this process has."""
        of = self.accelerator
        return SharedBatch(of.process_index, of.num_processes, of.gather, of.device)

    def _enter(self, stage: Stage) -> None:
        """Go on in a stage, or begin it: from the mean of the weights, if there is one, with a fresh optimiser."""
        if stage is not self.stage:
            self._set_stage(stage)
        if stage.number > 1 and (self.progress.epoch, self.progress.batch) == (stage.first_epoch, 0):
            self.say(f"stage {stage.number}, steps {stage.summary()}")
            if self.mean.count:
                self.mean.load_into(self.model)
            self.mean, self.progress = WeightMean(), self.progress.in_new_stage()
            self.optimizer.optimizer.state.clear()

    def _batches(self, end_epoch: int) -> Generator[Batch, None, None]:
        """This process's share of all the batches from where the progress stands to the end of an epoch."""
        workers = self.recipe.data.workers
        return training_batches(
            self.inputs.source(workers),
            self._sampler(),
            range(self.progress.epoch, end_epoch),
            first_batch=self.progress.batch,
            workers=workers,
            rank=self.accelerator.process_index,
            processes=self.accelerator.num_processes,
            pin_memory=self.accelerator.device.type == "cuda",
        )

    def _sampler(self) -> Sampler:
        """What draws the batches of the stage from here on."""
        sampler, count = self._labelled_sampler(), self.recipe.distillation.unlabelled_items
        if not count:
            return sampler
        batches, draw = sampler.batches_per_epoch, Draw.UNLABELLED_ORDER
        unlabelled = ShuffledSampler(len(self.plan.unlabelled), count, self.recipe.seed, batches, draw)
        return MixedSampler(sampler, unlabelled, first=len(self.plan.utterances))

    def _labelled_sampler(self) -> Sampler:
        """The stage's sampler; one of hard negatives with what the classes say at the beginning of this epoch."""
        sampler = self.stage.sampler
        if not isinstance(sampler, HardSampler):
            return sampler
        if self.progress.batch == 0:
            block = self.plan.plain_speed * self.plan.speakers
            centres = self.model.head.centres()[block : block + self.plan.speakers]  # those of the speed 1
            self.neighbours = find_neighbours(centres, SPARE * sampler.companions)
        if self.neighbours is None:
            raise CheckpointError(f"{self.folder.last}: does not say which speakers this epoch's batches are made of")
        return sampler.knowing(self.neighbours)

    def _teaching(self, teacher: Teacher) -> Teaching:
        """What the teacher says of all that is read."""
        embeddings = ask(teacher, self.plan.read, self.folder.teacher, self._shared_batch())
        known = int(embeddings.any(axis=1).sum())
        self.say(f"the teacher knows {known:,} of {len(embeddings):,} utterances")
        if self.recipe.distillation.centred:
            embeddings = centred(embeddings)
        return Teaching(torch.from_numpy(embeddings).half(), self.plan.plain_speed, self.accelerator.device)

    def _add_to_mean(self) -> None:
        """Add the weights to the mean, if this is one of the stage's last epochs that it is made of."""
        wanted = self.recipe.training.average_epochs
        if wanted and self.progress.epoch > self.stage.end_epoch - wanted:
            self.mean.add(self.model)

    def _validate(self) -> Validation | None:
        """Judge the network if it is this epoch's turn, and keep it if it is the best so far."""
        if self.progress.epoch % self.recipe.validation.every_epochs and self.progress.epoch < self.stage.end_epoch:
            return None
        return self._judge()

    def _validate_mean(self) -> Validation | None:
        """At the end of a stage, judge the mean of its last weights in the same way, if there is one."""
        if self.progress.epoch < self.stage.end_epoch or not self.mean.count:
            return None
        weights = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}
        self.mean.load_into(self.model)
        judged = self._judge(averaged=self.mean.count)
        self.model.load_state_dict(weights)
        return judged

    def _judge(self, averaged: int = 0) -> Validation | None:
        """Judge the present weights and keep them if they are the best so far; what is found, in the main process."""
        judged = None
        if self.is_main:
            settings, is_stored = self.recipe.validation, self.recipe.data.input == "features"
            self.encoder.centre = find_centre(self.encoder, self.plan.utterances, settings, is_stored)
            judged = validate(self.encoder, self.plan.validation, settings, is_stored)
            self._keep_if_best(judged, self.encoder, model_tensors(self.model.network, self.model.head), averaged)
        # The other processes wait here, and learn what the first one found.
        best_eer, best_epoch = broadcast_object_list([self.progress.best_eer, self.progress.best_epoch])
        self.progress = replace(self.progress, best_eer=best_eer, best_epoch=best_epoch)
        return judged

    def _save_last(self) -> None:
        """Write the state from which the run can go on; the other processes wait for it."""
        if self.is_main:
            scaler = self.accelerator.scaler
            scaled = None if scaler is None else scaler.state_dict()
            self.progress = replace(self.progress, scaler=scaled, averaged=self.mean.count)
            tensors = model_tensors(self.model.network, self.model.head, self.model.pupil)
            tensors.update(optimizer_tensors(self.optimizer.optimizer))
            self._keep_last(tensors | mean_tensors(self.mean) | mining_tensors(self.neighbours))
        self.accelerator.wait_for_everyone()

    def _restore(self, state: Checkpoint) -> None:
        """Go back to a state of this run."""
        model = self.model
        progress = restore(state, model.network, model.head, model.pupil, self.optimizer.optimizer)
        self.mean = restore_mean(state, progress, model)
        self.neighbours = restore_neighbours(state)
        if progress.scaler is not None and self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(progress.scaler)
        self._go_on_from(state, progress)

    def _start(self) -> None:
        """Give the network the weights of the model that the recipe names, if it names any."""
        base = self._start_from_model(self.model.network, ", with a new head")
        if base is None:
            return
        if self.recipe.training.new_head == "means":
            self._imprint()
        if not base.trained_speakers:
            self.say("that model does not say whom it was trained on, so this one will list its own speakers only")

    def _imprint(self) -> None:
        """Let the new head begin at what the network says of the speakers."""
        self.encoder.centre = None
        speeds, is_stored = self.recipe.augmentation.speeds, self.recipe.data.input == "features"
        means = class_means(self.encoder, self.plan.utterances, self.plan.labels, speeds, is_stored)
        imprint(self.model.head, means)


@contextmanager
def _accelerator(plan: TrainingPlan) -> Iterator[Accelerator]:
    """Accelerate's state is one per process and outlives its maker: it is put away when this run made it."""
    fresh = not AcceleratorState._shared_state
    try:
        accelerator = Accelerator(mixed_precision=PRECISIONS[plan.precision], cpu=plan.device.type == "cpu")
        try:
            yield accelerator
        finally:
            accelerator.free_memory()
    finally:  # where it could not be made, too
        if fresh:
            AcceleratorState._reset_state(reset_partial_state=True)
