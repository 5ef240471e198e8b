"""The folder that a preparation writes: what may be written there, and the lists."""

import json
import shutil
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from sound_groove.corpora.journal import JOURNAL_NAME, Journal
from sound_groove.corpora.layouts.listing import Corpus, Listing, Skipped
from sound_groove.corpora.manifest import MANIFEST_NAME, Utterance, encode_line, utterance_record
from sound_groove.errors import OutputError, printable
from sound_groove.files import replaced
from sound_groove.json_reading import through_json

SPEAKERS_NAME = "spk2id.json"
FEATURE_LIST_NAME = "train_fbank_list.txt"
VALIDATION_NAME = "val_meta.jsonl"
REPORT_NAME = "report.json"
SKIPPED_NAME = "skipped.tsv"
FEATURE_FOLDER = "fbank_pt"
WAV_FOLDER = "wav"
PACK_FOLDER = "pack"
FILES = (MANIFEST_NAME, SPEAKERS_NAME, FEATURE_LIST_NAME, VALIDATION_NAME, REPORT_NAME, SKIPPED_NAME)
FOLDERS = (FEATURE_FOLDER, WAV_FOLDER, PACK_FOLDER)


class OutputFolder:
    """The folder of one preparation.

    Attributes:
        path: the folder, absolute.
    """

    def __init__(self, path: Path, listing: Listing, corpus: Corpus) -> None:
        """Check that writing there would not touch the corpus.

        Raises:
            OutputError: the folder is a file, lies where the corpus is searched, or holds the corpus where copies go.
        """
        self.path = path.absolute()
        if self.path.exists() and not self.path.is_dir():
            raise OutputError(f"{path}: is a file; --out must be a folder")
        real = self.path.resolve()
        for searched in corpus.folders:
            if searched.resolve() in (real, *real.parents):
                raise OutputError(
                    f"{path}: lies inside {searched}, so what is written would be found as recordings; "
                    "choose an --out elsewhere",
                )
        for source in listing.sources:
            if any(source.path.startswith(f"{self.path}/{folder}/") for folder in FOLDERS):
                raise OutputError(f"{source.path}: would be overwritten by its own copy; choose another --out")

    def open_journal(self, arguments: dict[str, Any], force: bool) -> Journal:
        """Open the journal of this preparation, new or to be gone on with.

        Args:
            arguments: all that tells this preparation from another, as JSON.
            force: throw away what was written by another preparation, or by this one.

        Raises:
            OutputError: the folder holds another preparation and `force` is not set, or files of unknown origin.
        """
        present = [name for name in (*FILES, *FOLDERS) if (self.path / name).exists()]
        if present and not (self.path / JOURNAL_NAME).exists():
            raise OutputError(f"{self.path}: holds {present[0]}, which no preparation wrote; choose another --out")
        self.path.mkdir(parents=True, exist_ok=True)
        journal = Journal(self.path / JOURNAL_NAME)
        try:
            arguments = through_json(arguments)  # as they come back from the file
            if force:
                self._clear()
            elif journal.arguments is not None and journal.arguments != arguments:
                raise OutputError(
                    f"{self.path}: holds a preparation with other arguments "
                    f"({_difference(journal.arguments, arguments)}); choose another --out, or start over with --force",
                )
            if force or journal.arguments is None:
                journal.begin(arguments)
        except BaseException:
            journal.close()
            raise
        return journal

    def wav_path(self, key: str) -> str:
        """Where the wav copy of an utterance goes."""
        return f"{self.path}/{WAV_FOLDER}/{key}.wav"

    def feature_path(self, key: str) -> str:
        """Where the features of an utterance go."""
        return f"{self.path}/{FEATURE_FOLDER}/{key}.pt"

    @property
    def pack_path(self) -> str:
        """Where shards go."""
        return f"{self.path}/{PACK_FOLDER}"

    def drop_other_shards(self, wanted: Set[str]) -> None:
        """Delete the shards that the manifest does not name (any more), and what a run that was killed left of one."""
        for path in Path(self.pack_path).glob("*.pcm*"):
            if str(path) not in wanted:
                path.unlink()

    def write_skipped(self, skipped: Sequence[Skipped]) -> None:
        """Write the list of what was left out."""
        with replaced(self.path / SKIPPED_NAME) as file:
            file.write("path\treason\n")
            for skip in skipped:
                file.write(f"{printable(skip.path)}\t{printable(skip.reason)}\n")

    def write_lists(
        self, train_speakers: Sequence[str], utterances: Callable[[], Iterator[Utterance]], report: dict[str, Any]
    ) -> None:
        """Write the other lists, each in one piece and the manifest last.

        Args:
            train_speakers: sorted; a speaker's place is its label.
            utterances: gives them, sorted, each time it is called.
            report: what report.json says.
        """
        label = {speaker: number for number, speaker in enumerate(train_speakers)}
        with replaced(self.path / SPEAKERS_NAME) as file:
            json.dump(label, file, ensure_ascii=False, indent=0)
            file.write("\n")
        with replaced(self.path / REPORT_NAME) as file:
            json.dump(report, file, ensure_ascii=False, indent=2)
            file.write("\n")
        with ExitStack() as stack:  # closed, and so put in place, in the opposite order
            manifest = stack.enter_context(replaced(self.path / MANIFEST_NAME))
            validation = stack.enter_context(replaced(self.path / VALIDATION_NAME))
            features = None
            for utterance in utterances():
                manifest.write(encode_line(utterance_record(utterance)))
                if utterance.split == "validation":
                    validation.write(encode_line(_validation_record(utterance)))
                elif utterance.feature_path is not None:
                    features = features or stack.enter_context(replaced(self.path / FEATURE_LIST_NAME))
                    features.write(f"{label[utterance.speaker]} {utterance.feature_path}\n")

    def _clear(self) -> None:
        for name in FILES:
            (self.path / name).unlink(missing_ok=True)
        for name in FOLDERS:
            if (self.path / name).is_dir():
                shutil.rmtree(self.path / name)


def _validation_record(utterance: Utterance) -> dict[str, Any]:
    return {
        "speaker": utterance.speaker,
        "utterance": utterance.key,
        "feature_path": utterance.feature_path,
        "path": utterance.paths[0] if len(utterance.paths) == 1 else None,
        "paths": utterance.paths,
    }


def _difference(old: dict[str, Any], new: dict[str, Any]) -> str:
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    return "; ".join(f"{name}: {old.get(name)} there, {new.get(name)} now" for name in names)
