"""A corpus, looked through: recordings first, then labels.

    what was heard of every recording -> unusable, the same audio twice, several voices, heard badly
    embeddings -> speakers who are two people -> recordings of somebody else -> pairs of labels that are one person

Each step leaves out what the one before it found. Labels are judged by `curation.labels`; the model that judges a
speaker was fitted on others, but for pairs of labels, which need one model for all.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sound_groove.audio.listening import MINIMUM_SPEECH_S
from sound_groove.curation.copies import Copy
from sound_groove.curation.findings import SECOND, Examination, Finding, Labelled, cleaned
from sound_groove.curation.heard import HeardCorpus
from sound_groove.curation.labels import Parted, best_speakers, one_person, two_people, wrong_labels
from sound_groove.curation.recordings import badly_heard, instead_of_speech, refused
from sound_groove.curation.voices import CorpusVoices, corpus_voices, two_folds
from sound_groove.errors import MetricError
from sound_groove.scoring.discovery import picked
from sound_groove.types import Embeddings, Scores

LEAST_SPEAKERS = 10  # by whom labels are judged: half of them judge the other half
MOST_MOVED = 200  # recordings of somebody else of whom it is asked whose they are
LEAST_DOUBT = 0.001  # of a label, that is told
FITS = 0.5  # likeness from which on another label is named: nearer to one speaker than to two

Flags = NDArray[np.bool_]


def examine(
    recordings: Sequence[Labelled],
    heard: HeardCorpus,
    rate: float = 0.05,
    seed: int = 0,
    copies: Sequence[Copy] = (),
    familiar_up_to: float | None = None,
) -> Examination:
    """Look a corpus through.

    Args:
        recordings: all of it.
        heard: what was heard of each.
        rate: false discovery rate: the expected share of what is called wrong that is not, for each kind by itself.
        seed: of the draws by which wrong labels are made up, to know how they look.
        copies: recordings that hold the audio of others, as `curation.copies` finds them.
        familiar_up_to: of the model's score map; None tells nothing of recordings that sound unlike speech.
    """
    findings, usable = _of_recordings(recordings, heard, copies, familiar_up_to)
    notes = list[str]()
    second, doubts = dict[str, str](), dict[str, float]()
    share, compared = 0.0, 0
    rows = np.flatnonzero(usable)
    chosen = [recordings[row] for row in rows.tolist()]
    speakers = [one.speaker for one in chosen]
    if len(set(speakers)) < LEAST_SPEAKERS:
        notes.append(
            f"labels were not judged: that takes {LEAST_SPEAKERS} speakers with usable recordings, and there are "
            f"{len(set(speakers))}"
        )
    else:
        embeddings = heard.embeddings if len(rows) == len(recordings) else heard.embeddings[rows]
        try:
            of_labels, second, doubts, share, compared = _of_labels(chosen, embeddings, rate, seed)
            findings += of_labels
        except MetricError as error:
            notes.append(f"labels were not judged: {error}")
    findings += _of_sessions(recordings)
    return Examination(tuple(findings), cleaned(recordings, findings, second), share, compared, tuple(notes), doubts)


def _of_recordings(
    recordings: Sequence[Labelled], heard: HeardCorpus, copies: Sequence[Copy], familiar_up_to: float | None
) -> tuple[list[Finding], Flags]:
    """What is wrong with recordings by themselves, and (N,) which may stand for their speakers."""
    unusable, same, badly, several = (list[Finding]() for _ in range(4))
    usable = np.zeros(len(recordings), bool)
    first: dict[bytes, int] = {}
    copied = {copy.row: copy for copy in copies}
    for row, one in enumerate(recordings):
        if row in heard.reasons:
            told = refused(heard, row)
            unusable.append(Finding("unusable", one.speaker, one.path, detail=heard.reasons[row], told=told))
        elif heard.speech_s[row] < MINIMUM_SPEECH_S:
            told = instead_of_speech(heard, row)
            detail = "; ".join((f"{heard.speech_s[row]:.1f} s of speech", *map(str, told)))
            unusable.append(Finding("unusable", one.speaker, one.path, detail=detail, told=told))
        elif (known := first.setdefault(bytes(heard.digests[row]), row)) != row:
            same.append(_same(one, recordings[known], "samples", "", 1.0))
        elif (copy := copied.get(row)) is not None:
            same.append(_same(one, recordings[copy.of], "sound", f"; {copy.evidence}", None))
        else:
            usable[row] = True
            if told := badly_heard(heard, row, familiar_up_to):
                badly.append(Finding("quality", one.speaker, one.path, detail=", ".join(map(str, told)), told=told))
            if row in heard.voices:
                several.append(Finding("several_voices", one.speaker, one.path, detail=heard.voices[row]))
    rarity = Counter(each.code for one in badly for each in one.told)
    badly.sort(key=lambda one: min(rarity[each.code] for each in one.told))  # what all have would hide what few have
    return unusable + same + several + badly, usable


def _same(one: Labelled, other: Labelled, what: str, evidence: str, probability: float | None) -> Finding:
    """That a recording has the samples, or the sound, of another."""
    whose = "" if other.speaker == one.speaker else f", which is labelled '{other.speaker}'"
    return Finding(
        "same_audio",
        one.speaker,
        one.path,
        other.path,
        probability,
        f"holds the {what} of {other.path}{whose}{evidence}",
    )


def _of_labels(
    chosen: Sequence[Labelled], embeddings: Embeddings, rate: float, seed: int
) -> tuple[list[Finding], dict[str, str], dict[str, float], float, int]:
    """What is wrong with labels; the new ones of second people; doubts; the share of wrong ones; how many compared."""
    speakers, sessions = [one.speaker for one in chosen], [one.session for one in chosen]
    found = list[Finding]()
    labels = list(speakers)
    second, doubts = dict[str, str](), dict[str, float]()
    for parted in _picked_parts(embeddings, speakers, sessions, rate, seed):
        speaker = speakers[parted.first[0]]
        names = {chosen[row].path: speaker + SECOND for row in parted.second.tolist()}
        second |= names
        doubts |= dict.fromkeys(names, parted.probability)
        for row in parted.second.tolist():
            labels[row] = speaker + SECOND
        detail = f"{len(parted.first)} and {len(parted.second)} recordings; these get the label {speaker}{SECOND}"
        found.append(Finding("two_people", speaker, None, speaker + SECOND, parted.probability, detail))
    probability, share, compared = _wrong(embeddings, labels, sessions, seed)
    for row in np.flatnonzero(probability >= LEAST_DOUBT).tolist():
        doubts[chosen[row].path] = max(float(probability[row]), doubts.get(chosen[row].path, 0.0))
    wrong = picked(probability, rate)
    voices = corpus_voices(embeddings, labels, sessions)
    names_of = np.unique(np.asarray(labels))
    rows = np.flatnonzero(wrong)
    rows = rows[np.argsort(-probability[rows], kind="stable")]
    nearest, likeness = best_speakers(voices, rows[:MOST_MOVED], ~wrong)
    for place, row in enumerate(rows.tolist()):
        other = str(names_of[nearest[place]]) if place < len(nearest) and likeness[place] >= FITS else None
        detail = "" if other is None else f"fits '{other}' best"
        one = chosen[row]
        found.append(Finding("wrong_label", one.speaker, one.path, other, float(probability[row]), detail))
    alike = one_person(voices, ~wrong, np.random.default_rng((seed, 2)))
    for pair, sure in zip(alike, picked([one.probability for one in alike], rate).tolist(), strict=True):
        if sure:
            first, later = str(names_of[pair.first]), str(names_of[pair.second])
            found.append(Finding("one_person", first, None, later, pair.probability, "keep one of the two labels"))
    return found, second, doubts, share, compared


def _picked_parts(
    embeddings: Embeddings, speakers: Sequence[str], sessions: Sequence[str | None], rate: float, seed: int
) -> list[Parted]:
    """Speakers who are two people, with rows of all utterances."""
    parts = list[Parted]()
    for judged, voices in _folds(embeddings, speakers, sessions):
        rows = np.flatnonzero(judged)
        everything = np.ones(len(rows), bool)
        for one in two_people(voices, everything, np.random.default_rng((seed, 0))):
            parts.append(Parted(rows[one.first], rows[one.second], one.likeness, one.probability))
    chosen = picked([one.probability for one in parts], rate).tolist()
    return sorted((one for one, sure in zip(parts, chosen, strict=True) if sure), key=lambda one: -one.probability)


def _wrong(
    embeddings: Embeddings, labels: Sequence[str], sessions: Sequence[str | None], seed: int
) -> tuple[Scores, float, int]:
    """(N,) probabilities that labels are wrong, their share, and how many could be compared."""
    probability = np.zeros(len(labels))
    share, compared = 0.0, 0
    for judged, voices in _folds(embeddings, labels, sessions):
        found = wrong_labels(voices, np.random.default_rng((seed, 1)), np.ones(int(judged.sum()), bool))
        probability[judged] = found.probability
        here = int(np.isfinite(found.fit.likeness).sum())
        share, compared = share + found.share * here, compared + here
    return probability, share / max(compared, 1), compared


def _folds(
    embeddings: Embeddings, labels: Sequence[str], sessions: Sequence[str | None]
) -> list[tuple[Flags, CorpusVoices]]:
    """Each half of the speakers in the eyes of a model of the other."""
    folds = two_folds(labels)
    return [
        (judged, corpus_voices(embeddings, labels, sessions, judged, fitted))
        for judged, fitted in zip(folds, folds[::-1], strict=True)
    ]


def _of_sessions(recordings: Sequence[Labelled]) -> list[Finding]:
    """Speakers of one session, where that says something."""
    sessions: dict[str, set[str]] = {}
    counts = Counter(one.speaker for one in recordings)
    for one in recordings:
        if one.session is not None:
            sessions.setdefault(one.speaker, set()).add(one.session)
    if not any(len(known) > 1 for known in sessions.values()):
        return []
    return [
        Finding("one_session", speaker, detail=f"{counts[speaker]} recordings of '{next(iter(known))}'")
        for speaker, known in sorted(sessions.items())
        if len(known) == 1
    ]
