"""Where in an archive somebody speaks.

    voice -> cosine with every window -> llr, by the model's score map -> windows that reach the threshold for so many
    false alarms an hour (`promise`) -> stretches of neighbouring windows -> llr of each

Every window is weighed, since a noisy one needs a higher cosine than a clean one: the nearest alone
(`voiceprints.search`) may not be those with most evidence.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sound_groove.archive.promise import alarm_llr, alarm_share
from sound_groove.archive.recordings import Archive, open_archive
from sound_groove.arguments import check_integer, check_kind, check_number
from sound_groove.audio.given import AnyRecording
from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.audio.listening import HeardRecording
from sound_groove.comparison import Judge
from sound_groove.encoder.encoder import SpeakerEncoder, default_model
from sound_groove.errors import OtherModelError, UsageError, printable
from sound_groove.scoring.calibration import ScoreMap
from sound_groove.scoring.cosine import in_steps
from sound_groove.scoring.measures import number_or_nan, side_of, trial_measures
from sound_groove.types import ModelIdentity, QualityWarning, Scores
from sound_groove.voiceprints.sought import SoughtVoice, recorded_voice

PER_HOUR = 1.0  # false alarms
LEAST_WINDOW = SAMPLE_RATE  # shorter stretches of speech tell too little of a voice
JOINED = SAMPLE_RATE  # between two windows of one stretch
CHUNK = 16_384  # windows at a time, as float64: 25 MB of 192 values
TINY = 1e-9


@dataclass(frozen=True, slots=True)
class Stretch:
    """Where somebody seems to speak.

    Attributes:
        recording: its path.
        start_s: from when on.
        end_s: until when.
        llr: log-likelihood ratio (natural logarithm) of all its windows together. It is that of this stretch as if
            nobody had looked for one: what looking at a whole archive does is told by `false_alarms_per_hour`.
        best_llr: of the window with most evidence, by which it was found.
        false_alarms_per_hour: how many an hour of this archive there are expected of others with such a window.
    """

    recording: str
    start_s: float
    end_s: float
    llr: float
    best_llr: float
    false_alarms_per_hour: float


@dataclass(frozen=True, slots=True)
class Finding:
    """Where in an archive somebody speaks.

    Attributes:
        name: who was looked for, as enrolled; None for the person of some recordings.
        stretches: best first.
        per_hour: the false alarms an hour of recordings that were allowed.
        threshold: the llr that a window needs.
        found: how many stretches there are, should fewer be told.
        recordings: how many were searched.
        unusable: how many more could not be used when the index was made.
        is_complete: the indexes hold all that their last runs found; false where one was ended early.
        duration_s: of those that were searched.
        windows: of these.
        model: which embedded all.
        warnings: what makes the answer less trustworthy.
    """

    name: str | None
    stretches: tuple[Stretch, ...]
    per_hour: float
    threshold: float
    found: int
    recordings: int
    unusable: int
    is_complete: bool
    duration_s: float
    windows: int
    model: ModelIdentity
    warnings: tuple[QualityWarning, ...]

    def as_dict(self) -> dict[str, Any]:
        """The answer as JSON can hold it, with these very names."""
        record = asdict(self)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in record.items()}


def find(
    archive: str | Path | Archive | Sequence[str | Path | Archive],
    voice: SoughtVoice | AnyRecording | HeardRecording | Sequence[AnyRecording | HeardRecording],
    model: str | Path | SpeakerEncoder | None = None,
    *,
    per_hour: float = PER_HOUR,
    top: int | None = None,
) -> Finding:
    """Where in an archive does somebody speak?

    Args:
        archive: an index that `index_archive` made, or what `open_archive` read of it; or several.
        voice: recordings of the person, as `recorded_voice` takes them; or what it gives, or `enrolled_voice`.
        model: as in `compare`; the one that the index was made with.
        per_hour: false alarms that are allowed in an hour of recordings.
        top: tell so many stretches at most, the best; None tells all.

    Raises:
        ArchiveError: an index cannot be used.
        AudioError: a recording of the person cannot be used.
        CheckpointError: the model cannot be used.
        OtherModelError: an index, or the person's voiceprint, is of another model.
        UsageError: a number is out of range, or the model carries no score map.

    Example:
        index_archive("meetings")
        for stretch in find("meetings.index", "anna.wav", per_hour=0.1).stretches:
            print(stretch.recording, stretch.start_s, stretch.llr)
    """
    check_asked(per_hour, top)
    given = [archive] if isinstance(archive, str | Path | Archive) else list(archive)
    if not given:
        raise UsageError("there is no index to look in")
    archives = [one if isinstance(one, Archive) else open_archive(one) for one in given]
    encoder = model if isinstance(model, SpeakerEncoder) else SpeakerEncoder.load(model or default_model())
    score_map, *_ = [check_archive(one, encoder) for one in archives]
    sought = voice if isinstance(voice, SoughtVoice) else recorded_voice(voice, encoder)
    if sought.model.hash != encoder.identity.hash:
        raise OtherModelError(
            f"the voice was embedded by model {sought.model.label}, and this is {encoder.identity.label}; hear it again"
        )
    return _found(archives, sought, Judge.of(encoder), score_map, per_hour, top)


def check_asked(per_hour: float, top: int | None) -> None:
    """Refuse numbers out of range.

    Raises:
        UsageError: one is.
    """
    if not 0 < check_number(per_hour, "the false alarms an hour") < math.inf:
        raise UsageError(f"the false alarms an hour must be above 0; {per_hour:g} was given")
    if top is not None and check_integer(top, "the number of stretches") < 1:
        raise UsageError(f"the number of stretches to tell must be at least 1; {top} was given")


def check_archive(archive: Archive, encoder: SpeakerEncoder) -> ScoreMap:
    """The score map by which an archive is searched, or why it cannot be.

    Raises:
        OtherModelError: the archive is of another model.
        UsageError: the model carries no score map.
    """
    check_kind(archive, Archive, "the archive", "what open_archive gives")
    if archive.facts.model.hash != encoder.identity.hash:
        raise OtherModelError(
            f"{printable(str(archive.path))}: is of model {archive.facts.model.label}, and this is "
            f"{encoder.identity.label}; give that --model, or make another index with this one"
        )
    if encoder.score_map is None:
        raise UsageError(
            f"model {encoder.identity.label} carries no map from score to evidence, so that no false alarms can be "
            "promised; 'sound-groove calibrate' fits one"
        )
    return encoder.score_map


def _found(
    archives: Sequence[Archive],
    sought: SoughtVoice,
    judge: Judge,
    score_map: ScoreMap,
    per_hour: float,
    top: int | None,
) -> Finding:
    """The answer for archives of the judge's model."""
    told = [archive.windows[:, 1] - archive.windows[:, 0] >= LEAST_WINDOW for archive in archives]
    duration_s = sum(archive.duration_s for archive in archives)
    count = int(sum(kept.sum() for kept in told))
    hourly = count / max(duration_s / 3600, TINY)  # windows
    threshold = alarm_llr(min(per_hour / max(hourly, TINY), 1.0))
    stretches = list[Stretch]()
    for archive, kept in zip(archives, told, strict=True):
        llrs = _llrs(archive, sought, score_map)
        for rows in _stretches(archive, kept & (llrs >= threshold)):
            best = float(llrs[rows].max())
            stretches.append(_stretch(archive, rows, best, alarm_share(best) * hourly, sought, judge))
    stretches.sort(key=lambda one: (-one.best_llr, one.recording, one.start_s))
    return Finding(
        name=sought.name,
        stretches=tuple(stretches[:top]),
        per_hour=per_hour,
        threshold=threshold,
        found=len(stretches),
        recordings=sum(len(archive.recordings) for archive in archives),
        unusable=sum(archive.unusable for archive in archives),
        is_complete=all(archive.facts.is_complete for archive in archives),
        duration_s=duration_s,
        windows=count,
        model=judge.model,
        warnings=(*sought.warnings, *_warnings(score_map)),
    )


def _llrs(archive: Archive, sought: SoughtVoice, score_map: ScoreMap) -> Scores:
    """The llr (N,) of every window, that the person speaks in it."""
    person = side_of(sought.facts, float(score_map.closeness(sought.mean)))
    snr_db = np.array([recording.facts.snr_db for recording in archive.recordings])
    unfamiliarity = np.array([number_or_nan(recording.facts.unfamiliarity) for recording in archive.recordings])
    llrs = np.empty(len(archive.windows))
    for start in range(0, len(llrs), CHUNK):
        here = slice(start, start + CHUNK)
        embeddings, owners = archive.embeddings[here], archive.owners[here]
        windows = {
            "speech_s": (archive.windows[here, 1] - archive.windows[here, 0]) / SAMPLE_RATE,
            "snr_db": snr_db[owners],
            "embedding_norm": archive.norms[here].astype(np.float64),
            "closeness": score_map.closeness(embeddings),
            "unfamiliarity": unfamiliarity[owners],
        }
        llrs[here] = score_map.llr(in_steps(embeddings @ sought.mean), trial_measures(person, windows))
    return llrs


def _stretches(archive: Archive, hits: NDArray[np.bool_]) -> list[NDArray[np.intp]]:
    """The windows of each stretch: those above the threshold that overlap, or nearly touch."""
    rows = np.flatnonzero(hits)
    if not len(rows):
        return []
    owners, windows = archive.owners[rows], archive.windows[rows]
    apart = (owners[1:] != owners[:-1]) | (windows[1:, 0] > windows[:-1, 1] + JOINED)
    return np.split(rows, np.flatnonzero(apart) + 1)


def _stretch(
    archive: Archive, rows: NDArray[np.intp], best: float, alarms: float, sought: SoughtVoice, judge: Judge
) -> Stretch:
    """What is told of a stretch."""
    recording = archive.recordings[archive.owners[rows[0]]]
    start, end = int(archive.windows[rows[0], 0]), int(archive.windows[rows, 1].max())
    mean = archive.embeddings[rows].mean(axis=0, dtype=np.float64)
    unit = (mean / np.linalg.norm(mean)).astype(np.float32)
    norm = float(archive.norms[rows].mean())
    facts = replace(
        recording.facts,
        speech_s=(end - start) / SAMPLE_RATE,
        embedding_norm=None if math.isnan(norm) else norm,
    )
    measures = judge.measures((sought.facts, facts), (sought.mean, unit))
    llr, _, _ = judge.evidence(float(in_steps(unit @ sought.mean)), measures)
    return Stretch(
        recording=str(Path(archive.facts.folder) / recording.path),
        start_s=round(start / SAMPLE_RATE, 3),
        end_s=round(end / SAMPLE_RATE, 3),
        llr=best if llr is None else llr,
        best_llr=best,
        false_alarms_per_hour=alarms,
    )


def _warnings(score_map: ScoreMap) -> tuple[QualityWarning, ...]:
    """What makes the promise less trustworthy."""
    if score_map.calibrated:
        return ()
    message = (
        "the promise is uncalibrated: the model's map was fitted on the validation speakers that also chose the "
        "checkpoint; fit one on speakers of your own with 'sound-groove calibrate'"
    )
    return (QualityWarning("uncalibrated", message),)
