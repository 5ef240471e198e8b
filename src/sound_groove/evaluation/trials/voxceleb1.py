"""Vox1-O, E and H: the trial lists of VoxCeleb1, as published and as cleaned, and the recordings behind them.

Nagrani et al. 2017 published Vox1-O, of the 40 speakers of the test part; Chung et al. 2018 Vox1-E, of all 1,251, and
Vox1-H, of pairs of one sex and nationality. The cleaned lists leave out trials with errors in them; figures of the two
are not to be compared with each other.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from sound_groove.corpora.layouts.voxceleb import speaker_folders
from sound_groove.errors import TrialError, UsageError, printable
from sound_groove.evaluation.trials.sources import AudioFinder, Names, Sources
from sound_groove.evaluation.trials.trial_list import TrialList, read_trials
from sound_groove.evaluation.trials.trial_sets import TrialSet, listed_trials

SPEAKER = re.compile(r"(?:^|[/\\])(id\d+)[/\\]")


@dataclass(frozen=True, slots=True)
class PublishedList:
    """A list as its makers published it.

    Attributes:
        condition: which of VoxCeleb1's three.
        is_cleaned: whether trials with errors are left out of it.
        file: its name.
        trials: how many it has.
        targets: how many of these are of one speaker.
    """

    condition: str
    is_cleaned: bool
    file: str
    trials: int
    targets: int

    @property
    def name(self) -> str:
        """What it is called, which is a folder's name too: `vox1-o`, or `vox1-o-cleaned`."""
        return self.condition.lower() + ("-cleaned" if self.is_cleaned else "")

    def differences(self, trials: TrialList) -> tuple[str, ...]:
        """That a file of its name is not what was published, told by its counts; nothing where they are right."""
        counts, published = (len(trials), int(trials.labels.sum())), (self.trials, self.targets)
        if counts == published:
            return ()
        return (
            f"{self.file} has {counts[0]:,} trials, {counts[1]:,} of them of one speaker, where the published list has "
            f"{published[0]:,} and {published[1]:,}: the figures are not those of {self.condition}",
        )


PUBLISHED = (
    PublishedList("Vox1-O", True, "veri_test2.txt", 37_611, 18_802),
    PublishedList("Vox1-E", True, "list_test_all2.txt", 579_818, 289_921),
    PublishedList("Vox1-H", True, "list_test_hard2.txt", 550_894, 275_488),
    PublishedList("Vox1-O", False, "veri_test.txt", 37_720, 18_860),
    PublishedList("Vox1-E", False, "list_test_all.txt", 581_480, 290_743),
    PublishedList("Vox1-H", False, "list_test_hard.txt", 552_536, 276_270),
)
FILES = ", ".join(each.file for each in PUBLISHED)


def voxceleb1_trials(folder: Path, named: Sequence[Path] = ()) -> dict[PublishedList, TrialSet]:
    """The trials of VoxCeleb1's lists, with who speaks as the names in them say.

    Args:
        folder: holds `idXXXXX/VIDEO/00001.wav`, directly or below `wav`, `dev/wav`, `test/wav` and the like.
        named: files of the lists, or folders that hold some; none looks in `folder`, in the folders of its audio, and
            in those that these lie in.

    Returns:
        By list, cleaned ones first. One whose counts are not the published ones has a note that says so.

    Raises:
        TrialError: no speakers or no lists where they should be, or a list that cannot be used.
        UsageError: a file was named whose name is none of the lists'.
    """
    if not folder.is_dir():
        raise TrialError(f"{folder}: no such folder; --voxceleb1 must name the one that holds VoxCeleb1's recordings")
    roots = tuple(dict.fromkeys(each.parent for each in speaker_folders(folder)))
    if not roots:
        raise TrialError(f"{folder}: no speakers of VoxCeleb1 in it; expected wav/idXXXXX/VIDEO/00001.wav")
    found = _find_lists(folder, roots, named)
    find = cache(Names(AudioFinder(*roots), {}, None).find)  # a name of one list is mostly in the others too
    sets = {}
    for published, path in found.items():
        trials, form = read_trials(path)
        sources = Sources(tuple(map(find, trials.ids)), "single recordings", None)
        speakers = tuple(_speaker(path, name) for name in trials.ids)
        listed = listed_trials(path, trials, form, sources, speakers, f"{path}, by the speakers in its names")
        sets[published] = replace(listed, notes=(*published.differences(trials), *listed.notes))
    return sets


def missing_conditions(found: Sequence[PublishedList]) -> list[str]:
    """Those of Vox1-O, E and H of which there is no list, neither cleaned nor as it was first published."""
    conditions = dict.fromkeys(each.condition for each in PUBLISHED)
    return [condition for condition in conditions if condition not in {each.condition for each in found}]


def _find_lists(folder: Path, roots: Sequence[Path], named: Sequence[Path]) -> dict[PublishedList, Path]:
    """Where the lists lie; the first of several files of one name."""
    folder = folder.absolute()
    beside = [root.absolute() for root in roots]
    places = list(named) or list(dict.fromkeys([folder, *beside, *(root.parent for root in beside), folder.parent]))
    files: dict[str, Path] = {}
    for place in places:
        if place.is_dir():
            for published in PUBLISHED:
                if (place / published.file).is_file():
                    files.setdefault(published.file, place / published.file)
        elif place.name in {published.file for published in PUBLISHED}:
            files.setdefault(place.name, place)
        else:
            raise UsageError(
                f"--lists: {place} is neither a folder nor a file with the name of one of VoxCeleb1's lists ({FILES}); "
                "other lists are judged with --trials"
            )
    if not files:
        raise TrialError(
            f"no trial list of VoxCeleb1 ({FILES}) in {', '.join(map(str, places))}; put those of VoxCeleb's page "
            "there, or name them with --lists"
        )
    return {published: files[published.file] for published in PUBLISHED if published.file in files}


def _speaker(path: Path, name: str) -> str:
    if match := SPEAKER.search(name):
        return match[1]
    raise TrialError(f"{path}: '{printable(name)}' does not name a speaker of VoxCeleb1 (idXXXXX/VIDEO/00001.wav)")
