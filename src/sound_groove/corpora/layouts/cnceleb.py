"""CN-Celeb1, with or without CN-Celeb2 (Fan et al. 2020, Li et al. 2022), as openslr 82 packs them.

`data/` holds the speakers of the development set and of the evaluation set side by side: who may be trained on is read
from `dev/dev.lst` and `spk.lst`, never from what lies there. All validation speakers come from dev.lst too.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sound_groove.audio.suffixes import is_audio
from sound_groove.corpora.layouts.listing import (
    Listing,
    Skipped,
    abbreviate,
    contents,
    read_lines,
    require_folder,
    subfolders,
)
from sound_groove.errors import CorpusError

LICENCE = "CN-Celeb is for research only: neither the data nor models trained on it may be used commercially."
DEV_LIST = "dev/dev.lst"
EVAL_LISTS = "eval/lists"
LAYOUT1 = "CN-Celeb1 (data/, dev/dev.lst, eval/)"
LAYOUT2 = "CN-Celeb2 (data/, spk.lst)"


@dataclass(frozen=True, slots=True)
class CnCeleb:
    """CN-Celeb1 and CN-Celeb2.

    Attributes:
        cnceleb1: the folder CN-Celeb_flac, or one that holds it.
        cnceleb2: the folder CN-Celeb2_flac, or one that holds it; None = without.
    """

    cnceleb1: Path
    cnceleb2: Path | None = None
    name = "cnceleb"

    @property
    def folders(self) -> tuple[Path, ...]:
        """The folders that are searched for audio."""
        roots = [self.cnceleb1] if self.cnceleb2 is None else [self.cnceleb1, self.cnceleb2]
        return tuple(root / "data" for root in roots)

    def identity(self) -> dict[str, Any]:
        """What tells this corpus from another."""
        second = None if self.cnceleb2 is None else str(self.cnceleb2.absolute())
        return {"corpus": self.name, "cnceleb1": str(self.cnceleb1.absolute()), "cnceleb2": second}

    def listing(self) -> Listing:
        """Find the files of the speakers that may be trained on, and check the evaluation's lists.

        Raises:
            CorpusError: a folder is not laid out as it should be, or a speaker is on both sides.
        """
        listing = Listing(self.name, join_by="genre", licence=LICENCE)
        root = find_root(self.cnceleb1, _is_first, LAYOUT1, "--cnceleb1")
        dev = read_speakers(root / DEV_LIST)
        judged = _check_evaluation(root, listing)
        _refuse_shared(dev, root / DEV_LIST, judged, root / EVAL_LISTS)
        self._add(listing, "cnceleb1", root, dev, judged)
        if self.cnceleb2 is not None:
            second = find_root(self.cnceleb2, _is_second, LAYOUT2, "--cnceleb2")
            speaker_list = _speaker_list(second)
            more = read_speakers(speaker_list)
            _refuse_shared(more, speaker_list, judged, root / EVAL_LISTS)
            _refuse_shared(more, speaker_list, dev, root / DEV_LIST)
            self._add(listing, "cnceleb2", second, more, judged)
        listing.validation_candidates = frozenset(dev)
        without = sum(source.genre is None for source in listing.sources)
        if without:
            listing.notes.append(f"{without} file names are not genre-session-utterance: their genre is unknown")
        return listing.finish()

    def _add(self, listing: Listing, part: str, root: Path, speakers: list[str], judged: frozenset[str]) -> None:
        there = subfolders(root / "data")
        missing = sorted(set(speakers) - set(there))
        before = len(listing.sources)
        for speaker in sorted(set(speakers) & set(there)):
            listing.add_speaker(speaker, root / "data" / speaker, parse_name)
        for speaker in missing:
            listing.skipped.append(
                Skipped(str(root / "data" / speaker), "the list of speakers names it, there is no folder", "missing"),
            )
        if missing:
            listing.notes.append(
                f"{len(missing)} of {len(speakers)} listed speakers are missing: {abbreviate(missing)}"
            )
        left_out = set(there) - set(speakers)
        listing.facts[part] = {
            "root": str(root),
            "listed_speakers": len(speakers),
            "missing_speakers": missing,
            "files": len(listing.sources) - before,
            "left_out_evaluation_speakers": len(left_out & judged),
            "left_out_unlisted_speakers": len(left_out - judged),
        }


def parse_name(name: str) -> tuple[str | None, str | None]:
    """Session and genre of an utterance's name, which a genre with dashes or underscores does not upset.

    >>> parse_name("live_broadcast-02-013")
    ('live_broadcast-02', 'live_broadcast')
    >>> parse_name("talk-show-02-013")
    ('talk-show-02', 'talk-show')
    >>> parse_name("noise")
    (None, None)
    """
    parts = name.rpartition("/")[2].rsplit("-", 2)
    if len(parts) != 3 or not all(parts):
        return None, None
    return f"{parts[0]}-{parts[1]}", parts[0]


def read_speakers(path: Path) -> list[str]:
    """The speakers of dev.lst or spk.lst, in its order, once each.

    Raises:
        CorpusError: no such list, it is empty, or a line is more than a speaker.
    """
    speakers: dict[str, None] = {}
    for number, line in read_lines(path):
        if len(line.split()) != 1 or "/" in line:
            raise CorpusError(f"{path}, line {number}: expected one speaker a line, such as id00010, found '{line}'")
        speakers[line] = None
    if not speakers:
        raise CorpusError(f"{path}: the list of speakers is empty")
    return list(speakers)


def find_root(folder: Path, is_root: "Layout", expected: str, option: str) -> Path:
    """The corpus's own folder: the one given, or the only fitting one inside it.

    Raises:
        CorpusError: neither; says what was expected and what was found.
    """
    require_folder(folder, expected)
    root = folder.absolute()
    if is_root(root):
        return root
    inside = [root / name for name in subfolders(root) if is_root(root / name)]
    if len(inside) == 1:
        return inside[0]
    hint = ""
    if len(inside) > 1:
        hint = f"; several such folders are in it, pass one of them: {abbreviate([path.name for path in inside])}"
    elif is_root(root.parent):
        hint = f"; it is part of the corpus, pass {root.parent}"
    elif _is_first(root) or _is_second(root):
        hint = "; this looks like the other part: --cnceleb1 and --cnceleb2 may be mixed up"
    raise CorpusError(f"{option} {folder}: expected {expected}, found {contents(root)}{hint}")


class Layout:
    """Whether a folder has the files by which a part of the corpus is known."""

    def __init__(self, *marks: str, without: str = "") -> None:
        self.marks = marks
        self.without = without

    def __call__(self, folder: Path) -> bool:
        if self.without and (folder / self.without).exists():
            return False
        return (folder / "data").is_dir() and any((folder / mark).is_file() for mark in self.marks)


_is_first = Layout(DEV_LIST)
_is_second = Layout("spk.lst", "data/spk.lst", without=DEV_LIST)


def _speaker_list(root: Path) -> Path:
    return next(path for path in (root / "spk.lst", root / "data" / "spk.lst") if path.is_file())


def _refuse_shared(speakers: list[str], source: Path, others: "frozenset[str] | list[str]", other_source: Path) -> None:
    shared = sorted(set(speakers) & set(others))
    if shared:
        raise CorpusError(
            f"{source}: {abbreviate(shared)} also in {other_source}; no speaker may be on both sides, "
            "so one of the lists is not that of the corpus",
        )


def _check_evaluation(root: Path, listing: Listing) -> frozenset[str]:
    """Count what the evaluation holds and which of its files are there; returns its speakers."""
    lists = root / EVAL_LISTS
    if not (lists / "trials.lst").is_file():
        listing.notes.append(f"{lists / 'trials.lst'} is missing: there is nothing to judge a model on")
        listing.facts["evaluation"] = None
        return frozenset()
    enrolments = [line.split() for _, line in read_lines(lists / "enroll.lst")]
    tests = [line.split()[0] for _, line in read_lines(lists / "test.lst")]
    missing = [
        *_unresolved(root / "eval", [words[1] for words in enrolments if len(words) > 1], listing),
        *_unresolved(root / "eval", tests, listing),
    ]
    pieces = _enrolment_pieces(lists / "enroll.map")
    missing_pieces = list(_unresolved(root / "data", pieces, listing))
    speakers = {speaker_of(words[0]) for words in enrolments} | {speaker_of(test) for test in tests}
    facts = _count_trials(lists / "trials.lst", {words[0] for words in enrolments}, set(tests))
    facts |= {
        "speakers": len(speakers),
        "enrolments": len(enrolments),
        "tests": len(tests),
        "enrolment_pieces": len(pieces),
        "missing_enrolments_and_tests": len(missing),
        "missing_enrolment_pieces": len(missing_pieces),
    }
    listing.facts["evaluation"] = facts
    if missing or missing_pieces:
        listing.notes.append(f"{len(missing) + len(missing_pieces)} files of the evaluation are missing (skipped.tsv)")
    if facts["trials_of_unlisted_files"]:
        listing.notes.append(
            f"{facts['trials_of_unlisted_files']} trials name files that enroll.lst and test.lst do not",
        )
    return frozenset(speakers)


def speaker_of(name: str) -> str:
    """The speaker of an enrolment or a test file.

    >>> speaker_of("test/id00800-singing-01-005.wav"), speaker_of("id00800-enroll"), speaker_of("id00800/a-01-001.wav")
    ('id00800', 'id00800', 'id00800')
    """
    folder, _, last = name.rpartition("/")
    return folder.rpartition("/")[2] if folder not in ("", "test", "enroll") else last.split("-", 1)[0]


def _count_trials(path: Path, enrolments: set[str], tests: set[str]) -> dict[str, int]:
    trials = targets = unknown = 0
    for number, line in read_lines(path):  # 3.5 million lines: counted, not kept
        words = line.split()
        if len(words) != 3 or words[2] not in ("0", "1"):
            raise CorpusError(f"{path}, line {number}: expected 'enrolment test 0|1', found '{line}'")
        trials += 1
        targets += words[2] == "1"
        unknown += words[0] not in enrolments or words[1] not in tests
    return {"trials": trials, "targets": targets, "nontargets": trials - targets, "trials_of_unlisted_files": unknown}


def _enrolment_pieces(path: Path) -> list[str]:
    """The files of enroll.map, relative to data/ (the map itself may be missing: then the average protocol is too)."""
    if not path.is_file():
        return []
    return sorted({piece for _, line in read_lines(path) for piece in line.split()[1:]})


def _unresolved(root: Path, names: list[str], listing: Listing) -> Iterator[str]:
    """Those of the listed files that are not there with any audio suffix (the lists say .wav, the disk has .flac)."""
    stems: dict[str, set[str]] = {}
    for name in names:
        folder, _, last = name.rpartition("/")
        if folder not in stems:
            stems[folder] = _audio_stems(root / folder)
        if os.path.splitext(last)[0] not in stems[folder]:  # noqa: PTH122
            listing.skipped.append(Skipped(str(root / name), "a list of the evaluation names it", "missing"))
            yield name


def _audio_stems(folder: Path) -> set[str]:
    if not folder.is_dir():
        return set()
    return {os.path.splitext(name)[0] for name in os.listdir(folder) if is_audio(name)}  # noqa: PTH122, PTH208
