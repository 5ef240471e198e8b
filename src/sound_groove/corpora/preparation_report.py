"""How a corpus is prepared, and what came of it."""

from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sound_groove.audio.channels import check_channel
from sound_groove.corpora.layouts.listing import Skipped
from sound_groove.errors import UsageError


@dataclass(frozen=True, slots=True)
class PreparationOptions:
    """How a corpus is prepared.

    Attributes:
        validation_speakers: how many speakers to hold out; None = 5 %, from 10 to 100, but no more than a third.
        seed: of the draw of those speakers.
        join_s: join short neighbours until each piece lasts this long; None = no joining.
        minimum_duration_s: drop utterances (after joining) that are shorter.
        features: also write the features of every utterance (needs torch).
        wav: also write every utterance as 16 kHz 16-bit wav, and point the manifest at these copies.
        pack: also write the samples of all utterances into a few large files, from which crops are read fastest.
        quick: look at headers only, instead of decoding each file once.
        channel: which channel of each file to take, counted from 1, where a list names none; None averages all.

    Raises:
        UsageError: one of them is out of its range.
    """

    validation_speakers: int | None = None
    seed: int = 0
    join_s: float | None = None
    minimum_duration_s: float = 0.0
    features: bool = False
    wav: bool = False
    pack: bool = False
    quick: bool = False
    channel: int | None = None

    def __post_init__(self) -> None:
        check_channel(self.channel)
        wanted = self.validation_speakers
        if wanted is not None and (wanted < 0 or wanted == 1):
            raise UsageError(f"validation speakers must be 0, or 2 and more (one gives no impostor), not {wanted}")
        if self.join_s is not None and not 0 < self.join_s < float("inf"):
            raise UsageError(f"the length to join to must be above 0 s, not {self.join_s}")
        if not 0 <= self.minimum_duration_s < float("inf"):
            raise UsageError(f"the minimum duration must be 0 s or more, not {self.minimum_duration_s}")


@dataclass(frozen=True, slots=True)
class SplitCounts:
    """What is on one side of the split."""

    speakers: int
    utterances: int
    hours: float


@dataclass(frozen=True, slots=True)
class Report:
    """What a preparation made of a corpus.

    Attributes:
        corpus: its name.
        out: the folder that was written.
        options: how it was prepared.
        train, validation: what is on each side.
        files: audio files that were found.
        used: those of them that are in the manifest.
        joined: utterances that consist of several files.
        skipped: what was left out, with the reason.
        ignored: files that are not audio, or hidden.
        notes: what else people should know, one sentence each.
        facts: the same for machines.
        licence: what the data may be used for, where the corpus binds its users.
    """

    corpus: str
    out: Path
    options: PreparationOptions
    train: SplitCounts
    validation: SplitCounts
    files: int
    used: int
    joined: int
    skipped: tuple[Skipped, ...]
    ignored: int
    notes: tuple[str, ...]
    facts: dict[str, Any]
    licence: str | None

    @property
    def bad(self) -> int:
        """Number of files that are missing or cannot be read."""
        return sum(skip.kind in ("bad", "missing") for skip in self.skipped)

    def as_dict(self) -> dict[str, Any]:
        """The object that stands in report.json; skipped files are counted here and named in skipped.tsv."""
        return {
            "corpus": self.corpus,
            "out": str(self.out),
            "options": asdict(self.options),
            "train": asdict(self.train),
            "validation": asdict(self.validation),
            "files": {"found": self.files, "used": self.used, "ignored": self.ignored},
            "joined_utterances": self.joined,
            "skipped": dict(sorted(Counter(skip.kind for skip in self.skipped).items())),
            "speakers_without_audio": [skip.path for skip in self.skipped if skip.kind == "no_audio"],
            "notes": list(self.notes),
            "licence": self.licence,
            **self.facts,
        }
