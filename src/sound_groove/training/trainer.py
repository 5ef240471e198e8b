"""The training loop: one loop, on Accelerate, that can be read from top to bottom.

    crops -> augmentation -> filterbanks -> mean removal -> network -> AAM-Softmax -> gradient -> step

Everything random is a function of (seed, epoch, item), everything scheduled a function of the place in training, and
what is left is in the state that `last.safetensors` holds. So a run that was killed and resumed gives, on a CPU, the
losses of the run that was not, bit for bit.
"""

import math
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext, suppress
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
from tqdm import tqdm

from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.errors import CheckpointError, OutputError, TrainingError
from sound_groove.files import read_json, write_json
from sound_groove.inputs.dataset import DEAD_WORKER, Batch, training_batches
from sound_groove.inputs.mining import SPARE, HardSampler, find_neighbours
from sound_groove.inputs.sampler import MixedSampler, Sampler, ShuffledSampler
from sound_groove.networks.checkpoint import GROUPS, load_checkpoint, save_checkpoint
from sound_groove.networks.probe import LEAST_TRAINED_COSINE, Probe, probe_signal
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
from sound_groove.training.facts import failure_report, model_header, run_facts
from sound_groove.training.imprinting import class_means, imprint
from sound_groove.training.inputs import StageInputs
from sound_groove.training.log import EpochDone, RunLog
from sound_groove.training.model import Shares, TrainingModel, make_modules, make_optimizer, set_rate, start_network
from sound_groove.training.plan import TrainingPlan
from sound_groove.training.preflight import preflight
from sound_groove.training.result import TrainingResult
from sound_groove.training.run_folder import RunFolder, run_folder
from sound_groove.training.schedule import learning_rate
from sound_groove.training.stages import Stage
from sound_groove.training.state import (
    Progress,
    centre_tensors,
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
from sound_groove.types import ModelIdentity

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
            trainer = Trainer(recipe, plan, run, accelerator, command, say)
            try:
                return trainer.run(resume)
            except KeyboardInterrupt:
                trainer.say(f"stopped after step {trainer.progress.step}; --resume goes on from the last checkpoint")
                raise
    except RuntimeError as error:  # torch's signal handler raises it wherever the program is, the clearing away too
        if "DataLoader worker" not in str(error):
            raise
        raise TrainingError(DEAD_WORKER) from error


def check(recipe: Recipe, folder: str | Path | None = None, resume: bool = False, force: bool = False) -> str:
    """What would be trained, in a few lines for people; arguments and errors as for `train`."""
    run = run_folder(recipe, folder)
    if recipe.distillation.of == "crop":
        return plan_by_ear(recipe, run, resume, force).summary()
    return preflight(recipe, run, resume, force).summary(recipe)


class Trainer:
    """One run in progress; `train` is the way in.

    Args:
        recipe: what to train.
        plan: what the preflight made of it.
        folder: where to.
        accelerator: device, precision and processes.
        command: kept with the run.
        say: talks to a person.
    """

    def __init__(
        self,
        recipe: Recipe,
        plan: TrainingPlan,
        folder: RunFolder,
        accelerator: Accelerator,
        command: str,
        say: Callable[[str], None],
    ) -> None:
        self.recipe, self.plan, self.folder, self.accelerator = recipe, plan, folder, accelerator
        self.command, self.say = command, say if accelerator.is_main_process else lambda line: None
        check_agreement(gather_object([plan.precision]))
        teacher_size = None if plan.teacher is None else plan.teacher.embedding_size
        self.network, self.head, self.pupil = make_modules(recipe, plan.classes, teacher_size)
        if accelerator.num_processes > 1:
            self.network = share_batch_norm(self.network, accelerator.device)
        optimizer = make_optimizer(recipe.optimizer, self.network, self.head, self.pupil)
        if recipe.training.compile:
            self.network.compile()
        self.modules = TrainingModel(self.network, self.head, self.pupil)
        self.model, self.optimizer = accelerator.prepare(self.modules, optimizer)
        self.encoder = SpeakerEncoder.of_network(
            self.network,
            ModelIdentity(recipe.name, ""),
            recipe.network.embedding_size,
            recipe.network.feature_size,
            floor_db=recipe.network.floor_db,
            silence_share=recipe.network.silence_share,
        )
        self.shared = SharedBatch(
            accelerator.process_index, accelerator.num_processes, accelerator.gather, accelerator.device
        )
        self.facts = run_facts(recipe, plan, host(), command, accelerator.num_processes)
        self.speakers = plan.speaker_digests  # and, once they are known, those of the model that this one starts from
        self.progress = Progress()
        self.mean = WeightMean()
        self.neighbours: NDArray[np.int64] | None = None  # of each speaker, where hard negatives are mined
        self.teaching: Teaching | None = None  # where there is a teacher
        self._set_stage(plan.stages[0])
        self.log: RunLog | None = None  # of the main process

    def run(self, resume: bool) -> TrainingResult:
        """Train from the start, or from where the run folder's state leaves off, to the end."""
        self.say(self.plan.summary(self.recipe))
        if resume:
            self._resume()
        else:
            self._start_from()
            if self.accelerator.is_main_process:
                self.folder.start(self.recipe, self.facts)
        self.accelerator.wait_for_everyone()
        if self.plan.teacher is not None:
            self.teaching = self._teaching(self.plan.teacher)
        with self._logging():
            while (stage := self.plan.stage_at(self.progress.epoch)) is not None:
                self._enter(stage)
                # Where hard negatives are mined, the reading processes can only know the epoch that is about to begin.
                mines = isinstance(stage.sampler, HardSampler)
                while self.progress.epoch < stage.end_epoch:
                    end = self.progress.epoch + 1 if mines else stage.end_epoch
                    with closing(self._batches(end)) as batches:
                        while self.progress.epoch < end:
                            self._epoch(batches)
        if self.progress.best_eer is None:
            raise TrainingError(f"{self.folder.path}: the run ended without a validation")
        return TrainingResult(
            self.folder.path,
            self.folder.best,
            self.progress.best_eer,
            self.progress.best_epoch,
            self.progress.step,
            self.accelerator.is_main_process,
        )

    def _set_stage(self, stage: Stage) -> None:
        """Read, augment and schedule as the stage says."""
        self.stage, self.settings = stage, stage.recipe
        self.inputs = StageInputs(self.recipe, stage, self.plan, self.shared, self.accelerator.device)

    def _enter(self, stage: Stage) -> None:
        """Go on in a stage, or begin it: from the mean of the weights, if there is one, with a fresh optimiser."""
        self._set_stage(stage)
        if stage.number > 1 and (self.progress.epoch, self.progress.batch) == (stage.first_epoch, 0):
            self.say(f"stage {stage.number}, steps {stage.summary()}")
            if self.mean.count:
                self.mean.load_into(self.accelerator.unwrap_model(self.model))
            self.mean, self.progress = WeightMean(), self.progress.in_new_stage()
            self.optimizer.optimizer.state.clear()

    def _epoch(self, source: Iterator[Batch]) -> None:
        """One epoch: its batches, its validation, its line in the log, its checkpoints."""
        batches, first, started = self.stage.sampler.batches_per_epoch, self.progress.batch, time.monotonic()
        watched = Watched(islice(source, batches - first))
        with tqdm(
            watched,
            desc=f"epoch {self.progress.epoch + 1}/{self.plan.epochs}",
            initial=first,
            total=batches,
            unit="batch",
            leave=False,
            disable=None if self.accelerator.is_main_process else True,
        ) as bar:
            for batch in bar:
                row = self._step(batch)
                bar.set_postfix(loss=f"{row['loss']:.3f}", accuracy=f"{100 * row['accuracy']:.0f}%", refresh=False)
                every = self.recipe.training.checkpoint_every
                if every and self.progress.step % every == 0 and self.progress.batch < batches:
                    self._save_last()
        elapsed_s = max(time.monotonic() - started, 1e-9)
        done = EpochDone(
            loss=self.progress.loss_sum / batches,
            accuracy=self.progress.correct_sum / batches,
            crops_per_second=(batches - first) * self.settings.items_per_batch / elapsed_s,
            waiting=watched.waited_s / elapsed_s,
        )
        self.progress = self.progress.after_epoch()
        self._add_to_mean()
        judged = self._validate()
        judged_mean = self._validate_mean()
        if self.log is not None:
            self.say(self.log.add_epoch(self.progress, done, judged, judged_mean, self.mean.count))
        self._save_last()

    def _add_to_mean(self) -> None:
        """Add the weights to the mean, if this is one of the stage's last epochs that it is made of."""
        wanted = self.settings.training.average_epochs
        if wanted and self.progress.epoch > self.stage.end_epoch - wanted:
            self.mean.add(self.accelerator.unwrap_model(self.model))

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

    def _teaching(self, teacher: Teacher) -> Teaching:
        """What the teacher says of all that is read."""
        embeddings = ask(teacher, self.plan.read, self.folder.teacher, self.shared)
        known = int(embeddings.any(axis=1).sum())
        self.say(f"the teacher knows {known:,} of {len(embeddings):,} utterances")
        if self.recipe.distillation.centred:
            embeddings = centred(embeddings)
        targets = torch.from_numpy(embeddings).half()
        return Teaching(targets, self.recipe.augmentation.speeds.index(1.0), self.accelerator.device)

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
            block = self.recipe.augmentation.speeds.index(1.0) * self.plan.speakers
            centres = self.head.centres()[block : block + self.plan.speakers]  # those of the speed 1
            self.neighbours = find_neighbours(centres, SPARE * sampler.companions)
        if self.neighbours is None:
            raise CheckpointError(f"{self.folder.last}: does not say which speakers this epoch's batches are made of")
        return sampler.knowing(self.neighbours)

    def _step(self, batch: Batch) -> dict[str, Any]:
        """One optimiser step on one total batch; returns its row for the log."""
        settings = self.settings
        place = self.stage.place(self.progress.epoch, self.progress.batch)
        # The rate is that of the step's end, so that the first step moves, and the last is last.
        next_place = self.stage.place(self.progress.epoch, self.progress.batch + 1)
        total_batch = settings.data.sampler.total_batch
        rate = learning_rate(settings.learning_rate, next_place, settings.training.epochs, total_batch)
        frozen = self.progress.step < settings.training.frozen_steps
        set_rate(self.optimizer.optimizer, self.recipe.optimizer, rate, frozen)
        self.modules.follow(settings, place, self.progress)
        self.model.train()
        self.network.train(not frozen)  # frozen, its normalisation keeps the statistics that it has
        batch = batch.to(self.accelerator.device)
        loss, accuracy, distance = self._gradient(batch)
        clip = settings.training.gradient_clip or math.inf
        norm = self.accelerator.clip_grad_norm_(self.model.parameters(), clip)
        row = {
            "step": self.progress.step + 1,
            "epoch": self.progress.epoch + 1,
            "place": self.stage.first_epoch + next_place,
            "loss": loss,
            "accuracy": accuracy,
            "learning_rate": rate,
            "margin": self.head.margin,
            "scale": self.head.scale,
            "gradient_norm": float(norm),
        }
        if self.teaching is not None:
            row["teacher_distance"] = distance
        self._check_finite(row, batch)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.progress = self.progress.after_batch(loss, accuracy)
        self.progress = self.progress.adapted(settings.loss, place, self.stage.sampler.batches_per_epoch)
        if self.log is not None and self.progress.step % self.recipe.training.log_every == 0:
            self.log.add_step(row)
        return row

    def _gradient(self, batch: Batch) -> tuple[float, float, float]:
        """Compute the gradient of a total batch, part by part.

        Returns:
            Its mean loss, its accuracy, and its mean distance from the teacher's embeddings (0 without one).
        """
        features = self.inputs.features(batch, self.progress.epoch, self.progress.batch)
        count = self.settings.training.gradient_accumulation
        parts = replace(batch, inputs=features).split(count)
        lessons: Sequence[Lesson | None] = [None] * len(parts)
        shared_by = count * self.accelerator.num_processes
        shares = Shares(self.settings.data.sampler.total_batch / shared_by)
        if self.teaching is not None:
            lesson = self.teaching.lesson(batch)
            taught = self.accelerator.reduce(lesson.taught.sum().float(), reduction="sum")
            lessons, shares = lesson.split(count), replace(shares, taught=float(taught) / shared_by)
        sums = torch.zeros(3, device=self.accelerator.device)
        for index, (part, part_lesson) in enumerate(zip(parts, lessons, strict=True)):
            last = index == len(parts) - 1
            with nullcontext() if last else self.accelerator.no_sync(self.model):
                outcome = self.model(part.inputs, part.labels, shares, part_lesson)
                self.accelerator.backward(outcome.loss / len(parts))
            sums += torch.stack([value.detach() for value in outcome]) / len(parts)
        loss, accuracy, distance = self.accelerator.reduce(sums, reduction="mean").tolist()
        return loss, accuracy, distance

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

    def _validate(self) -> Validation | None:
        """Judge the network if it is this epoch's turn, and keep it if it is the best so far."""
        if self.progress.epoch % self.recipe.validation.every_epochs and self.progress.epoch < self.stage.end_epoch:
            return None
        return self._judge()

    def _validate_mean(self) -> Validation | None:
        """At the end of a stage, judge the mean of its last weights in the same way, if there is one."""
        if self.progress.epoch < self.stage.end_epoch or not self.mean.count:
            return None
        model = self.accelerator.unwrap_model(self.model)
        weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        self.mean.load_into(model)
        judged = self._judge(averaged=self.mean.count)
        model.load_state_dict(weights)
        return judged

    def _judge(self, averaged: int = 0) -> Validation | None:
        """Judge the present weights and keep them if they are the best so far; what is found, in the main process."""
        judged = None
        if self.accelerator.is_main_process:
            settings = self.recipe.validation
            stored = self.recipe.data.input == "features"
            self.encoder.centre = find_centre(self.encoder, self.plan.utterances, settings, stored)
            judged = validate(self.encoder, self.plan.validation, settings, stored)
            if self.progress.best_eer is None or judged.eer < self.progress.best_eer:
                self.progress = replace(self.progress, best_eer=judged.eer, best_epoch=self.progress.epoch)
                tensors = model_tensors(self.network, self.head) | centre_tensors(self.encoder.centre)
                probe = Probe.of(self.encoder.embed(probe_signal(), keep_pauses=True), LEAST_TRAINED_COSINE)
                header = model_header(self.recipe, self.facts, self.speakers, self.progress, judged, averaged, probe)
                save_checkpoint(self.folder.best, tensors, header)
        # The other processes wait here, and learn what the first one found.
        best_eer, best_epoch = broadcast_object_list([self.progress.best_eer, self.progress.best_epoch])
        self.progress = replace(self.progress, best_eer=best_eer, best_epoch=best_epoch)
        return judged

    def _save_last(self) -> None:
        """Write the state from which the run can go on, its log first."""
        if self.log is not None:
            self.log.flush()
            scaler = self.accelerator.scaler
            scaled = None if scaler is None else scaler.state_dict()
            self.progress = replace(self.progress, scaler=scaled, averaged=self.mean.count)
            tensors = model_tensors(self.network, self.head, self.pupil)
            tensors.update(optimizer_tensors(self.optimizer.optimizer))
            tensors.update(mean_tensors(self.mean) | mining_tensors(self.neighbours))
            header = model_header(self.recipe, self.facts, self.speakers, self.progress, None)
            save_checkpoint(self.folder.last, tensors, header)
        self.accelerator.wait_for_everyone()

    def _start_from(self) -> None:
        """Give the network the weights that the recipe names, if it names any."""
        if self.recipe.training.start_from is not None:
            base = start_network(self.network, self.recipe.training.start_from)
            origin = {"file": str(base.path), "name": base.identity.name, "hash": base.hash}
            self.facts = {**self.facts, "start_from": origin}
            self.speakers |= base.trained_speakers
            self.say(f"started from {base.identity.name} ({base.hash[:12]}), with a new head")
            if self.recipe.training.new_head == "means":
                self._imprint()
            if not base.trained_speakers:
                self.say("that model does not say whom it was trained on, so this one will list its own speakers only")

    def _imprint(self) -> None:
        """Let the new head begin at what the network says of the speakers."""
        self.encoder.centre = None
        speeds, stored = self.recipe.augmentation.speeds, self.recipe.data.input == "features"
        imprint(self.head, class_means(self.encoder, self.plan.utterances, self.plan.labels, speeds, stored))

    def _resume(self) -> None:
        """Go back to the newest state; a run that was killed before its first one begins again."""
        if not self.folder.last.exists():
            self.say("the run has no checkpoint yet: it begins again")
            self._start_from()
        else:
            checkpoint = load_checkpoint(self.folder.last, GROUPS)
            self.progress = restore(checkpoint, self.network, self.head, self.pupil, self.optimizer.optimizer)
            self.mean = restore_mean(checkpoint, self.progress, self.accelerator.unwrap_model(self.model))
            self.neighbours = restore_neighbours(checkpoint)
            self.speakers |= checkpoint.trained_speakers
            self.facts = {**self.facts, "start_from": read_json(self.folder.facts).get("start_from")}
            if self.progress.scaler is not None and self.accelerator.scaler is not None:
                self.accelerator.scaler.load_state_dict(self.progress.scaler)
            self.say(f"resumed after step {self.progress.step} (epoch {self.progress.epoch + 1})")
        if self.accelerator.is_main_process:
            self.folder.resume(self.progress.step, self.progress.epoch)

    @contextmanager
    def _logging(self) -> Iterator[None]:
        """The log, open in the main process while the block runs."""
        if not self.accelerator.is_main_process:
            yield
            return
        self.log = RunLog(self.folder, self.recipe.name, self.progress.step)
        try:
            yield
        except BaseException:
            with suppress(OutputError):  # the first error is the one to report
                self.log.close()
            raise
        self.log.close()


@contextmanager
def _accelerator(plan: TrainingPlan) -> Iterator[Accelerator]:
    """Accelerate's state is one per process and outlives its maker: it is put away when this run made it."""
    fresh = not AcceleratorState._shared_state
    accelerator = Accelerator(mixed_precision=PRECISIONS[plan.precision], cpu=plan.device.type == "cpu")
    try:
        yield accelerator
    finally:
        accelerator.free_memory()
        if fresh:
            AcceleratorState._reset_state(reset_partial_state=True)
