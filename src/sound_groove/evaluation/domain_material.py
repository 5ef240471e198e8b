"""The recordings of a domain, heard whole, in cuts and, where it is known who speaks, as they could have been besides.

Cuts from the beginning and from the end of a recording are a pair that is known to be of one person, as far as one
person speaks in it: the only such pair without labels. They are of one session, one microphone and one mood, and so
more alike than recordings of another day.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.audio.listening import HeardRecording, judge
from sound_groove.audio.reading import open_recording
from sound_groove.encoder.listener import Listener
from sound_groove.errors import AudioError
from sound_groove.evaluation.calibration_material import BATCH_S
from sound_groove.evaluation.embedding import Encoder
from sound_groove.evaluation.version_pairs import Versions
from sound_groove.evaluation.versions import AS_IT_IS, KINDS, conditions, drawn_conditions, make_versions
from sound_groove.progress import ProgressBar
from sound_groove.types import Recording, Samples

MOST_RECORDINGS = 1_500  # that are used; of more, so many are drawn
LONGEST = 15 * SAMPLE_RATE  # from the middle of a longer recording: longer ones were not learnt from
WHOLE, ENDING, BEGINNING, LONG_ENDING = range(4)  # what a recording is taken as
CUTS = {ENDING: 1.0, BEGINNING: 2.0, LONG_ENDING: 5.0}  # s; whatever the length, those of both ends are apart
CHANGED = tuple(kind for kind in KINDS if kind != AS_IT_IS)  # noise, pauses, rooms and lines
DURATIONS_S = tuple(CUTS.values())


@dataclass(frozen=True, slots=True)
class DomainMaterial:
    """What was heard of recordings.

    Attributes:
        paths: (R,) of those that can be used.
        versions: of them; `names` are rows of `paths`, `kinds` WHOLE, ENDING, BEGINNING or LONG_ENDING, and, after
            these, of CHANGED.
        unusable: why others cannot be used, by path.
        shortened: of how many 15 s alone were heard.
    """

    paths: tuple[str, ...]
    versions: Versions
    unusable: dict[str, str]
    shortened: int = 0

    @property
    def changed(self) -> NDArray[np.int64]:
        """The recordings, as rows of `paths`, that were heard changed as well."""
        return np.unique(self.versions.names[self.versions.kinds > LONG_ENDING])

    def rows(self, kind: int) -> NDArray[np.int64]:
        """(R,) the version of that kind of each recording; -1 where there is none."""
        found = np.full(len(self.paths), -1)
        own = np.flatnonzero(self.versions.kinds == kind)
        found[self.versions.names[own]] = own
        return found

    @property
    def unchanged(self) -> NDArray[np.int64]:
        """The versions that are recordings as they are, whole or cut."""
        return np.flatnonzero(self.versions.kinds <= LONG_ENDING)

    @property
    def planted(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(Q,) the versions that are beginnings, and (Q,) the endings of the same recordings."""
        begins, ends, long_ends = (self.rows(kind) for kind in (BEGINNING, ENDING, LONG_ENDING))
        other = np.where(long_ends >= 0, long_ends, ends)
        both = (begins >= 0) & (other >= 0)
        return begins[both], other[both]


def hear_domain(
    encoder: Encoder, paths: Sequence[str], labelled: Sequence[str] = (), seed: int = 0, threads: int = 1
) -> DomainMaterial:
    """Hear recordings, at most 15 s of each, and up to 5 s of their beginnings and endings, in bounded memory.

    Args:
        encoder: the model.
        paths: of the recordings; of more than MOST_RECORDINGS, so many are drawn, those with labels first.
        labelled: those that are heard with noise, other pauses, in a room and over a line besides.
        seed: of that draw and of what is made of recordings.
        threads: that decode and judge.
    """
    known = set(labelled)
    order = np.random.default_rng(seed).permutation(len(set(paths))).tolist()
    listed = sorted(set(paths))
    chosen = sorted(sorted((listed[row] for row in order), key=lambda path: path not in known)[:MOST_RECORDINGS])
    wanted = [
        (path, kind, seed * 1_000_003 + row)
        for row, path in enumerate(chosen)
        for kind in range(1 + len(CUTS) + (len(CHANGED) if path in known else 0))
    ]
    return _gathered([(path, kind) for path, kind, _ in wanted], _heard(encoder, wanted, "hearing", threads))


def hear_changed(
    encoder: Encoder, material: DomainMaterial, rows: NDArray[np.int64], seed: int = 0, threads: int = 1
) -> DomainMaterial:
    """The same with some of its recordings heard with noise, other pauses, in a room and over a line besides.

    Args:
        encoder: the model that heard the rest.
        material: recordings that were not heard so yet.
        rows: of its paths.
        seed: of what is made of them.
        threads: that decode and judge.
    """
    kinds = range(LONG_ENDING + 1, LONG_ENDING + 1 + len(CHANGED))
    wanted = [(material.paths[row], kind, seed * 1_000_003 + row) for row in rows.tolist() for kind in kinds]
    names = [row for row in rows.tolist() for _ in kinds]
    heard = _heard(encoder, wanted, "hearing changes", threads)
    more = [
        (row, kind, outcome)
        for row, (_, kind, _), outcome in zip(names, wanted, heard, strict=True)
        if isinstance(outcome, HeardRecording) and outcome.allows_verdict
    ]
    if not more:
        return material
    return replace(material, versions=_joined(material.versions, Versions.of(*zip(*more, strict=True))))


def _heard(
    encoder: Encoder, wanted: Sequence[tuple[str, int, int]], doing: str, threads: int
) -> list[HeardRecording | AudioError]:
    """What `_listen` hears, in the order in which it is asked for."""
    heard: list[HeardRecording | AudioError] = []
    with ProgressBar(total=len(wanted), desc=doing, unit="piece", disable=None) as bar:
        for outcome in Listener(encoder).hear_all(wanted, _listen, threads, BATCH_S):
            heard.append(outcome)
            bar.update(1)
    return heard


def _gathered(wanted: Sequence[tuple[str, int]], heard: Sequence[HeardRecording | AudioError]) -> DomainMaterial:
    """What can be used; of recordings with the very same samples one."""
    unusable: dict[str, str] = {}
    place: dict[str, int] = {}
    digests: dict[str, str] = {}
    for (path, kind), outcome in zip(wanted, heard, strict=True):
        if kind == WHOLE and isinstance(outcome, AudioError):
            unusable[path] = outcome.reason
        elif kind == WHOLE and isinstance(outcome, HeardRecording):
            if not outcome.allows_verdict:
                unusable[path] = "has too little speech, or channels of different sound"
            elif outcome.digest in digests:
                unusable[path] = f"has the samples of {digests[outcome.digest]}"
            else:
                digests[outcome.digest], place[path] = path, len(place)
    rows, kinds, kept, shortened = [], [], [], 0
    for (path, kind), outcome in zip(wanted, heard, strict=True):
        if path in place and isinstance(outcome, HeardRecording) and outcome.allows_verdict:
            rows.append(place[path])
            kinds.append(kind)
            kept.append(outcome)
            shortened += kind == WHOLE and outcome.facts.duration_s * SAMPLE_RATE >= LONGEST
    return DomainMaterial(tuple(place), Versions.of(rows, kinds, kept), unusable, shortened)


def _joined(versions: Versions, more: Versions) -> Versions:
    """Both, sorted by the recording that they are of."""
    order = np.argsort(np.concatenate((versions.names, more.names)), kind="stable")
    columns = (field.name for field in fields(Versions))
    return Versions(**{name: np.concatenate((getattr(versions, name), getattr(more, name)))[order] for name in columns})


def _listen(piece: tuple[str, int, int]) -> HeardRecording:
    """A recording, whole, cut or changed.

    Raises:
        AudioError: it cannot be used, or is too short for that.
    """
    path, kind, seed = piece
    with open_recording(path, compared=True) as opened:
        count = opened.samples
        first, last = (count - min(count, LONGEST)) // 2, (count + min(count, LONGEST)) // 2
        if kind in CUTS:
            size = round(CUTS[kind] * SAMPLE_RATE)
            # Both ends together are never more than the recording, so that they share no sample.
            if count < size + (round(CUTS[BEGINNING] * SAMPLE_RATE) if kind != BEGINNING else SAMPLE_RATE):
                raise AudioError(opened.path, "is too short to be cut")
            first, last = (0, size) if kind == BEGINNING else (count - size, count)
        samples = next(iter(list(opened.parts([(first, last)]))))
        if kind > LONG_ENDING:
            samples = _changed(samples, CHANGED[kind - LONG_ENDING - 1], seed)
        decoded = Recording(opened.path, samples, opened.source_sample_rate, opened.channels, opened.warnings)
    return judge(decoded, path)


def _changed(samples: Samples, kind: str, seed: int) -> Samples:
    """A recording, whole or in a cut that is drawn, with something done to it."""
    drawn = drawn_conditions(conditions(DURATIONS_S), len(samples), np.random.default_rng(seed))
    wanted = [one for one in drawn if one.kind == kind]
    made: Iterator[tuple[object, Samples]] = make_versions(samples, wanted, (), seed)
    return next(made)[1]
