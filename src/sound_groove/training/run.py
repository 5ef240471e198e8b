"""A run in progress: what every training loop keeps, says and leaves behind, whatever it trains."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.errors import OutputError, TrainingError, printable
from sound_groove.files import locked_folder, read_json, writing
from sound_groove.networks.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from sound_groove.networks.checkpoint_header import CheckpointHeader
from sound_groove.networks.probe import LEAST_TRAINED_COSINE, Probe, probe_signal
from sound_groove.networks.tensor_groups import GROUPS
from sound_groove.recipe.schema import Recipe
from sound_groove.training.backbone import start_backbone
from sound_groove.training.facts import changed_software, model_header
from sound_groove.training.log import RunLog
from sound_groove.training.model import start_network
from sound_groove.training.result import TrainingResult
from sound_groove.training.run_folder import RunFolder
from sound_groove.training.state import Progress, centre_tensors
from sound_groove.training.validation import Validation


class TrainingRun(ABC):
    """One run in progress. A loop of its own kind says how it begins (`_begin`) and what it does (`_train`).

    Args:
        asked: the recipe as it was asked for, its stages included; that is what the run's files hold.
        folder: where to.
        facts: what run.json holds when the run starts.
        speakers: digests of the names of all whose speech is heard in training.
        say: talks to a person.
        is_main: whether this process, of those that share the run, speaks of it and writes its files.

    Attributes:
        progress: the place in training.
        log: open while the loop runs, in the main process.
    """

    def __init__(
        self,
        asked: Recipe,
        folder: RunFolder,
        facts: dict[str, Any],
        speakers: frozenset[str],
        say: Callable[[str], None],
        is_main: bool = True,
    ) -> None:
        self.asked, self.folder, self.facts, self.speakers = asked, folder, facts, speakers
        self.say, self.is_main = say if is_main else lambda line: None, is_main
        self.progress = Progress()
        self.log: RunLog | None = None

    def run(self, resume: bool) -> TrainingResult:
        """Train from the start, or from where the run folder's state leaves off, to the end."""
        try:
            with self._alone():
                self._begin(resume)
                with self._logging():
                    self._train()
        except KeyboardInterrupt:
            self.say(f"stopped after step {self.progress.step}; --resume goes on from the last checkpoint")
            raise
        best_eer, best_epoch = self.progress.best_eer, self.progress.best_epoch
        if best_eer is None:
            raise TrainingError(f"{self.folder.path}: the run ended without a validation")
        return TrainingResult(
            self.folder.path,
            self.folder.best,
            best_eer,
            best_epoch,
            self.progress.step,
            self.is_main,
            self.progress.best_interval,
        )

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """The run folder, for this training only while the block runs.

        Raises:
            OutputError: another one is at work there, or the folder cannot be made.
        """
        if not self.is_main:
            yield
            return
        path = self.folder.path
        with writing(path):
            path.mkdir(parents=True, exist_ok=True)
        with locked_folder(path, f"{printable(str(path))}: another training is at work there; choose another --out"):
            yield

    @abstractmethod
    def _begin(self, resume: bool) -> None:
        """Make everything ready for the first step, or for the one after the newest state."""

    @abstractmethod
    def _train(self) -> None:
        """Take every step that is left, judge and save on the way."""

    def _newest_state(self, resume: bool) -> Checkpoint | None:
        """The state to go on from; None for a new run, and for one that was killed before it had any."""
        if not resume:
            return None
        if not self.folder.last.exists():
            self.say("the run has no checkpoint yet: it begins again")
            return None
        state = load_checkpoint(self.folder.last, GROUPS)
        if not state.is_checked:
            self.say("note: an earlier version wrote the checkpoint, without checksums: damage to it would not be seen")
        return state

    def _go_on_from(self, state: Checkpoint, progress: Progress) -> None:
        """Take the place in training, and what is known of the weights, from a state whose weights are loaded."""
        self.progress = progress
        self.speakers |= state.trained_speakers
        self.facts = {**self.facts, "start_from": read_json(self.folder.facts).get("start_from")}
        self.say(f"resumed after step {progress.step} (epoch {progress.epoch + 1})")
        if changed := changed_software(state.header.training, self.facts):
            self.say(f"note: {changed}; what comes may differ from a run that was never stopped")

    def _start_from_model(self, network: nn.Module, aside: str = "") -> Checkpoint | None:
        """Give the network the weights of the model that the recipe names, and remember that; None if it names none."""
        if (source := self.asked.training.backbone) is not None:
            self.facts = {**self.facts, "start_from": start_backbone(network, source)}
            self.say(f"the backbone begins as {source}")
        if self.asked.training.start_from is None:
            return None
        base = start_network(network, self.asked.training.start_from)
        origin = {"file": base.path.name, "name": base.identity.name, "hash": base.hash}
        self.facts = {**self.facts, "start_from": origin}
        self.speakers |= base.trained_speakers
        self.say(f"started from {base.identity.name} ({base.hash[:12]}){aside}")
        return base

    def _open_folder(self, resume: bool) -> None:
        """Make the run folder, or cut off what its logs hold beyond the state that the run goes on from."""
        if self.is_main:
            if resume:
                self.folder.resume(self.progress.step, self.progress.epoch)
            else:
                self.folder.start(self.asked, self.facts)

    @contextmanager
    def _logging(self) -> Iterator[None]:
        """The log, open in the main process while the block runs."""
        if not self.is_main:
            yield
            return
        self.log = RunLog(self.folder, self.asked.name, self.progress.step)
        try:
            yield
        except BaseException:
            with suppress(OutputError):  # the first error is the one to report
                self.log.close()
            raise
        self.log.close()

    def _is_checkpoint_due(self) -> bool:
        """Whether the state is to be saved after the step just done, in the middle of an epoch."""
        every = self.asked.training.checkpoint_every
        return bool(every) and self.progress.step % every == 0

    def _keep_if_best(
        self, judged: Validation, encoder: SpeakerEncoder, tensors: dict[str, Tensor], averaged: int = 0
    ) -> None:
        """Write the model that was judged, if no other was better.

        Args:
            judged: what was found.
            encoder: that was judged.
            tensors: its network and, where they are kept, its classes, under the names of the checkpoint.
            averaged: epochs of whose weights these are the mean; 0 = they are those of the epoch itself.
        """
        if self.progress.best_eer is None or judged.eer < self.progress.best_eer:
            self.progress = replace(
                self.progress, best_eer=judged.eer, best_interval=judged.interval, best_epoch=self.progress.epoch
            )
            probe = Probe.of(encoder.embed(probe_signal(), keep_pauses=True), LEAST_TRAINED_COSINE)
            header = self._header(judged, averaged, probe)
            save_checkpoint(self.folder.best, tensors | centre_tensors(encoder.centre), header)

    def _keep_last(self, tensors: dict[str, Tensor]) -> None:
        """Write the state (`tensors`) from which the run can go on; its log first, for a resumption cuts that off."""
        if self.log is not None:
            self.log.flush()
        save_checkpoint(self.folder.last, tensors, self._header())

    def _header(
        self, judged: Validation | None = None, averaged: int = 0, probe: Probe | None = None
    ) -> CheckpointHeader:
        return model_header(self.asked, self.facts, self.speakers, self.progress, judged, averaged, probe)
