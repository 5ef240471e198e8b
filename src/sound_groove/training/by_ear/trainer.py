"""Training by ear: one loop over shards of crops that a teacher has heard.

    shard -> visit (gates, padding, gain) -> filterbanks -> level, floor, mean -> network -> distances -> step

Epoch t visits shard t and, once more, older ones (`sound_groove.inputs.crops.visits`). The order, and what is done to a
crop at a visit, are functions of (seed, epoch, batch); what is left is in the state that `last.safetensors` holds. So a
run that was killed and resumed gives, on a CPU, the losses of the run that was not, bit for bit. It waits where its
maker is behind.
"""

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sound_groove.errors import CheckpointError, TrainingError
from sound_groove.inputs.crops.pool import CropPool, CropShard
from sound_groove.inputs.crops.visits import EpochVisits, Visit
from sound_groove.networks.architectures import build_network
from sound_groove.networks.checkpoint import Checkpoint
from sound_groove.networks.hearing import build_hearing, build_normalization
from sound_groove.networks.losses import SpeakerHead
from sound_groove.networks.pooling import TellsFrames
from sound_groove.networks.tensor_groups import MEAN, NETWORK
from sound_groove.progress import ProgressBar
from sound_groove.provenance import code_hash, host
from sound_groove.recipe.schema import Recipe
from sound_groove.training.averaging import MovingMean
from sound_groove.training.by_ear.loss import FrameDistance, HearingLoss
from sound_groove.training.by_ear.maker import ShardMaker
from sound_groove.training.by_ear.plan import ByEarPlan, plan_by_ear
from sound_groove.training.by_ear.teacher import HearingTeacher, open_hearing_teacher
from sound_groove.training.imprinting import class_means, imprint
from sound_groove.training.log import EpochDone
from sound_groove.training.model import encoder_around, make_head, make_optimizer, set_rate
from sound_groove.training.pace import Pace
from sound_groove.training.result import TrainingResult
from sound_groove.training.run import TrainingRun
from sound_groove.training.run_folder import RunFolder
from sound_groove.training.schedule import learning_rate, risen
from sound_groove.training.state import (
    model_tensors,
    optimizer_tensors,
    restore,
)
from sound_groove.training.validation import Validation, find_centre, validate

LOOK_S = 1.0  # between two looks for a shard that is not there yet


class ByEarModel(nn.Module):
    """The network and what only its training needs.

    Args:
        network: (B, T, F) -> (B, D); one that tells its frames, where the loss compares them.
        loss: embeddings and the teacher's -> distances.
        head: embeddings and labels -> AAM-Softmax, where labels count too.
    """

    def __init__(self, network: nn.Module, loss: HearingLoss, head: SpeakerHead | None) -> None:
        super().__init__()
        self.network, self.loss, self.head = network, loss, head

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor | None]:
        """(B, T, F) -> embeddings (B, D), and the frames that they are pooled from (B, C, T'), where they count."""
        if self.loss.frames is None:
            return self.network(features), None
        assert isinstance(self.network, TellsFrames), "the plan checks it"
        return self.network.embed_and_tell(features)


def train_by_ear(
    recipe: Recipe, run: RunFolder, resume: bool, force: bool, command: str, say: Callable[[str], None]
) -> TrainingResult:
    """Train a recipe with `distillation.of: crop`; arguments and errors as for `training.trainer.train`."""
    return ByEarTrainer(plan_by_ear(recipe, run, resume, force), run, command, say).run(resume)


class ByEarTrainer(TrainingRun):
    """One run in progress; `train_by_ear` is the way in.

    Args:
        plan: what is about to be taught.
        folder: where to.
        command: kept with the run.
        say: talks to a person.
    """

    def __init__(self, plan: ByEarPlan, folder: RunFolder, command: str, say: Callable[[str], None]) -> None:
        recipe = plan.recipe
        super().__init__(recipe, folder, _facts(plan, command), plan.speaker_digests, say)
        self.plan, self.recipe = plan, recipe
        self.pool = CropPool(plan.crops_folder, recipe.distillation.crops.kept)
        self.model = _make_model(recipe, plan.classes, _open_teacher(recipe, torch.device("cpu"))).to(plan.device)
        if recipe.training.compile:
            # A graph for each length: crops have few, and one for all of them would be slower.
            self.model.compile(dynamic=False)
        beside = nn.ModuleList([self.model.loss] if self.model.head is None else [self.model.loss, self.model.head])
        self.optimizer = make_optimizer(recipe.optimizer, self.model.network, beside, precision=plan.precision)
        size = recipe.network.feature_size
        self.front_end = build_hearing(size).train().to(plan.device)
        self.normalization = build_normalization(size, recipe.network.floor_db).to(plan.device)
        self.mean = MovingMean(recipe.training.moving_average)
        self.maker: ShardMaker | None = None  # where crops are made in this loop

    def _begin(self, resume: bool) -> None:
        for line in self.plan.summary().split("\n"):
            self.say(line)
        self.pool.begin(self.plan.made_by)
        if (state := self._newest_state(resume)) is not None:
            self._restore(state)
        elif self._start_from_model(self.model.network, "" if self.model.head is None else ", with a new head"):
            self._imprint()
        self._open_folder(resume)
        if state is None:
            self._begin_loss()

    def _imprint(self) -> None:
        """Let the head, where there is one, begin at what the network that it goes on from says of the speakers."""
        if self.model.head is None or self.recipe.training.new_head != "means":
            return
        labels = self.plan.labels[self.plan.labels >= 0]
        encoder = encoder_around(self.model.network.eval(), self.recipe)
        imprint(self.model.head, class_means(encoder, self.plan.labelled, labels, (1.0,), False))

    def _train(self) -> None:
        self.pace: Pace | None = None  # from the first epoch on, whose length tells that of the others
        while self.progress.epoch < self.recipe.training.epochs:
            self._epoch()

    def _epoch(self) -> None:
        """One epoch: its visits, its validation where it is its turn, its line in the log, its checkpoint."""
        epoch, started = self.progress.epoch, time.monotonic()
        shards, waited_s = [], 0.0
        for number in self.plan.visits.shards(epoch):
            shard, waiting_s = self._shard(number)
            shards.append(shard)
            waited_s += waiting_s
        recipe = self.recipe
        visits = EpochVisits(
            shards,
            recipe.distillation.crops,
            recipe.data.sampler.total_batch,
            recipe.seed,
            epoch,
            recipe.network.silence_share,
        )
        first, total = self.progress.batch, len(visits)
        if self.pace is None:
            left = self.plan.steps_from(epoch) - first
            self.pace = Pace(left * recipe.data.sampler.total_batch, self.say, "visits")
        self.pace.begin_epoch()
        title = f"epoch {epoch + 1}/{self.recipe.training.epochs}"
        with ProgressBar(desc=title, initial=first, total=total, unit="batch", leave=False, disable=None) as bar:
            for number in range(first, total):
                row = self._step(visits.batch(number), number / total, (number + 1) / total)
                bar.update()
                bar.set_postfix(distance=f"{row['teacher_distance']:.3f}", refresh=False)
                if bar.disable:
                    where = f"{title}, batch {self.progress.batch:,}/{total:,}"
                    self.pace.step(where, recipe.data.sampler.total_batch, row["loss"])
                if self._is_checkpoint_due() and self.progress.batch < total:
                    self._save_last()
        crops = (total - first) * recipe.data.sampler.total_batch
        done = EpochDone.of(self.progress, total, crops, time.monotonic() - started, waited_s)
        self.progress = self.progress.after_epoch()
        self._finish(done)

    def _finish(self, done: EpochDone) -> None:
        """What follows an epoch's visits."""
        epoch = self.progress.epoch
        is_judged = epoch % self.recipe.validation.every_epochs == 0 or epoch == self.recipe.training.epochs
        judged = self._judge() if is_judged else None
        if self.log is not None:
            self.log.add_epoch(self.progress, done, judged, None, 0)
        verdict = "" if judged is None else f", {_in_words(judged)}"
        pace = f"{done.crops_per_second:.1f} visits/s, {100 * done.waiting:.0f} % of the time waiting for crops"
        self.say(f"epoch {epoch}: cosine with the teacher {done.accuracy:.3f}{verdict}; {pace}")
        self._save_last()
        # Only now: before, the state from which the run would go on still needed them.
        self.pool.need_from(self.plan.visits.oldest(epoch), self.recipe.training.epochs - 1)
        if epoch == self.recipe.training.epochs:
            self.pool.need_from(epoch, epoch - 1)

    def _shard(self, number: int) -> tuple[CropShard, float]:
        """A shard, when its maker has made it; and how long that was waited for."""
        started, is_told = time.monotonic(), False
        while not self.pool.path(number).exists():
            if self.recipe.distillation.crops.maker == "loop":
                self._make(number)
                break
            if not is_told:
                self.say(f"waiting for crops (shard {number}); 'sound-groove crops' makes them")
                is_told = True
            time.sleep(LOOK_S)
        return self.pool.read(number), time.monotonic() - started

    def _make(self, number: int) -> None:
        """Make a shard here, with the teacher on the training device."""
        if self.maker is None:
            self.maker = ShardMaker(self.plan, _open_teacher(self.recipe, self.plan.device))
        shard, cost = self.maker.make(number)
        self.pool.write(number, shard)
        self.say(str(cost))

    def _step(self, visit: Visit, place: float, next_place: float) -> dict[str, Any]:
        """One optimiser step on one batch; returns its row for the log."""
        settings, epoch = self.recipe, self.progress.epoch
        # The rate is that of the step's end, so that the first step moves, and the last is last.
        rate = learning_rate(
            settings.learning_rate, epoch + next_place, settings.training.epochs, settings.data.sampler.total_batch
        )
        set_rate(self.optimizer, settings.optimizer, rate, frozen=False)
        self.model.train()
        loss, row = self._loss(visit, epoch + place)
        torch.autograd.backward(loss)
        clip = settings.training.gradient_clip or math.inf
        norm = float(nn.utils.clip_grad_norm_(self.model.parameters(), clip))
        row |= {
            "step": self.progress.step + 1,
            "epoch": epoch + 1,
            "place": epoch + next_place,
            "learning_rate": rate,
            "gradient_norm": norm,
        }
        if not (math.isfinite(row["loss"]) and math.isfinite(norm)):
            raise TrainingError(
                f"loss or gradient is not a finite number at step {row['step']} (learning rate {rate:.3g}); a lower "
                "learning_rate.peak, a longer warm-up or training.gradient_clip may help"
            )
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.progress = self.progress.after_batch(row["loss"], 1.0 - row["teacher_distance"])
        self.mean.follow(self.model.network, self.progress.step)
        if self.log is not None and self.progress.step % settings.training.log_every == 0:
            self.log.add_step(row)
        return row

    def _loss(self, visit: Visit, place: float) -> tuple[Tensor, dict[str, Any]]:
        """The loss of a batch, and what it is made of, for the log."""
        weights, device = self.recipe.distillation, self.plan.device
        embeddings, frames = self._hear(visit.waveforms.to(device))
        distances = self.model.loss(embeddings, visit.targets.to(device))
        loss = (
            weights.weight * distances.crops
            + weights.matrix_weight * distances.pairs
            + weights.neighbour_weight * distances.neighbours
            + weights.norm_weight * distances.norms
        )
        of_frames = None
        if self.model.loss.frames is not None:
            assert frames is not None and visit.frames is not None, "the network and the shards have them then"
            of_frames = self.model.loss.frames(frames, visit.frames.to(device), visit.starts.to(device))
            loss = loss + weights.frame_weight * of_frames
        margin, labels = 0.0, visit.labels.to(device)
        known = labels >= 0
        if self.model.head is not None and bool(known.any()):
            head, settings = self.model.head, self.recipe.loss
            head.scale, head.margin = risen(settings.scale, place), risen(settings.margin, place)
            margin = head.margin
            of_labels, _ = head(embeddings[known], labels[known])
            share = float(known.float().mean())
            loss = loss + weights.label_weight * share * of_labels
        row = {
            "loss": float(loss.detach()),
            "accuracy": 1.0 - float(distances.crops.detach()),  # what the curves show in its place
            "margin": margin,
            "teacher_distance": float(distances.crops.detach()),
            "pair_distance": float(distances.pairs.detach()),
            "neighbour_distance": float(distances.neighbours.detach()),
            "norm_distance": float(distances.norms.detach()),
            "frame_distance": None if of_frames is None else float(of_frames.detach()),
            "norm": float(torch.linalg.vector_norm(embeddings.detach().float(), dim=1).mean()),
        }
        return loss, row

    def _hear(self, waveforms: Tensor) -> tuple[Tensor, Tensor | None]:
        """(B, samples) -> embeddings (B, D), and the frames that they are pooled from, where they count."""
        with torch.no_grad():
            features = self.normalization(self.front_end(waveforms))
        is_half = self.plan.precision == "bf16"
        with torch.autocast(waveforms.device.type, torch.bfloat16, enabled=is_half):
            found: tuple[Tensor, Tensor | None] = self.model(features)
        return found

    def _judge(self) -> Validation:
        """Judge the mean of the weights, and keep it if it is the best so far."""
        network = build_network(self.recipe.network).to(self.plan.device)
        network.load_state_dict(self.mean.weights, strict=True)
        network.eval()
        encoder = encoder_around(network, self.recipe)
        settings = self.recipe.validation
        encoder.centre = find_centre(encoder, self.plan.labelled, settings, False)
        if self.plan.lists is None:
            judged = validate(encoder, self.plan.validation, settings, False)
        else:
            rates, trials = self.plan.lists.judge(encoder), self.plan.lists.lists.values()
            targets = sum(int(of_list.labels.sum()) for of_list in trials)
            nontargets = sum(len(of_list) for of_list in trials) - targets
            judged = Validation(float(np.mean(list(rates.values()))), targets, nontargets, None, rates)
        tensors = {f"{NETWORK}{name}": tensor for name, tensor in self.mean.weights.items()}
        self._keep_if_best(judged, encoder, tensors)
        return judged

    def _save_last(self) -> None:
        """Write the state from which the run can go on."""
        tensors = model_tensors(self.model.network, self._heads(), self.model.loss)
        tensors.update(optimizer_tensors(self.optimizer))
        tensors.update({f"{MEAN}{name}": tensor for name, tensor in self.mean.weights.items()})
        self._keep_last(tensors)

    def _restore(self, state: Checkpoint) -> None:
        """Go back to a state of this run."""
        progress = restore(state, self.model.network, self._heads(), self.model.loss, self.optimizer)
        weights = state.group(MEAN)
        if weights.keys() != self.model.network.state_dict().keys():
            raise CheckpointError(f"{state.path}: the mean of the weights is missing or not whole")
        self.mean = MovingMean(
            self.recipe.training.moving_average, {name: t.to(self.plan.device) for name, t in weights.items()}
        )
        self._go_on_from(state, progress)

    def _heads(self) -> nn.ModuleList:
        """The head, or nothing, as a module."""
        return nn.ModuleList([] if self.model.head is None else [self.model.head])

    def _begin_loss(self) -> None:
        """Tell the loss what it must know before the first step, and begin the mean of the weights.

        That is the mean of the teacher's embeddings and what norms the network gives its own.
        """
        self.pool.need_from(0, self.recipe.training.epochs - 1)
        shard, _ = self._shard(0)
        targets = torch.from_numpy(np.concatenate(list(shard.targets.values())))
        crops = self.recipe.distillation.crops
        share = self.recipe.network.silence_share
        visit = EpochVisits([shard], crops, self.recipe.data.sampler.total_batch, self.recipe.seed, 0, share).batch(0)
        self.model.eval()
        with torch.no_grad():
            embeddings, _ = self._hear(visit.waveforms.to(self.plan.device))
        norms = torch.linalg.vector_norm(embeddings.float(), dim=1)
        mean = targets.mean(dim=0) if self.recipe.distillation.centred else torch.zeros(targets.shape[1])
        self.model.loss.begin(mean.to(self.plan.device), norms)
        if self.model.loss.frames is not None:
            told = (torch.from_numpy(frames).to(self.plan.device) for frames in shard.frames.values())
            self.model.loss.frames.begin(list(told))
        self.mean.follow(self.model.network, 0)


def _open_teacher(recipe: Recipe, device: torch.device) -> HearingTeacher:
    """The teacher that a recipe names."""
    assert recipe.distillation.teacher is not None, "the plan checks it"
    return open_hearing_teacher(recipe.distillation.teacher, device)


def _make_model(recipe: Recipe, classes: int, teacher: HearingTeacher) -> ByEarModel:
    """The first weights are a function of the recipe's seed and of nothing else."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(recipe.seed)
        network = build_network(recipe.network)
        head = make_head(recipe, classes) if classes else None
        settings = recipe.distillation
        neighbours = settings.neighbours if settings.neighbour_weight else 0
        frames = None
        if settings.frame_weight:
            assert isinstance(network, TellsFrames) and teacher.pooled_size is not None, "the plan checks it"
            frames = FrameDistance(network.pooled_size, teacher.pooled_size, network.pooled_stride)
        size, temperature = recipe.network.embedding_size, settings.neighbour_temperature
        loss = HearingLoss(size, teacher.embedding_size, neighbours, temperature, frames)
        return ByEarModel(network, loss, head)


def _facts(plan: ByEarPlan, command: str) -> dict[str, Any]:
    """What run.json holds when the run starts."""
    return {
        "name": plan.recipe.name,
        "command": command,
        "manifest": str((plan.recipe.data.prepared / "manifest.jsonl").absolute()),
        "manifest_sha256": plan.manifest_sha256,
        "other_sha256": plan.other_sha256,
        "excluded": None if plan.excluded is None else plan.excluded.as_dict(),
        "speakers": len({utterance.speaker for utterance in plan.utterances}),
        "classes": plan.classes,
        "utterances": len(plan.utterances),
        "hours": round(plan.hours, 3),
        "steps": [plan.steps],
        "network_parameters": plan.network_parameters,
        "start_from": None,
        "device": str(plan.device),
        "cpu_threads": torch.get_num_threads(),
        "precision": plan.precision,
        "code": code_hash(),
        **host(),
    }


def _in_words(judged: Validation) -> str:
    """The rates of a validation, for people."""
    lists = ", ".join(f"{name} {100 * rate:.1f}" for name, rate in judged.lists.items())
    return f"EER {judged.text}" + (f" ({lists})" if lists else "")
