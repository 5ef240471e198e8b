"""Voiceprints as a file, to move them from one store to another: a .npz of arrays, nothing pickled, mode 600.

It is a file of embeddings like those of `sound-groove embed` (`path`, `emb`, `norms`, `speaker`, `model`), so that it
can also serve as a cohort, with what a store knows besides of each recording. It is not encrypted, and has no audio.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from sound_groove.encoder.embedding_file import EMBEDDINGS, MODEL, NORMS, PATHS, SPEAKERS, read_embedding_file
from sound_groove.errors import (
    CorpusError,
    DamagedVoiceprintError,
    OtherModelError,
    OutputError,
    StoreError,
    UnknownSpeakerError,
    printable,
)
from sound_groove.files import replaced_bytes, writing
from sound_groove.networks.probe import RULE
from sound_groove.scoring.measures import number_or_nan
from sound_groove.types import Embeddings, ModelIdentity
from sound_groove.voiceprints.search import MOST_VALUES
from sound_groove.voiceprints.store.interface import VoiceprintStore, find_voiceprint
from sound_groove.voiceprints.store.names import LONGEST_NAME, checked_name
from sound_groove.voiceprints.store.plausibility import LARGEST_NORM, RANGES, is_norm
from sound_groove.voiceprints.store.probes import check_probe
from sound_groove.voiceprints.store.records import DamagedVoiceprint, EnrolledRecording, SpeakerEntry, new_id

MODEL_NAME = "model_name"
PROBE = f"probe_{RULE}"  # (D,) what the model gives of the probe of this rule, where the store knows it
MOST_NAMED = 20  # pairs of names with the same audio
# What else the file has of each recording: the name of the field, and the kind of its array.
FIELDS = {
    "digest": "U",
    "duration_s": "f",
    "speech_s": "f",
    "snr_db": "f",
    "sample_rate": "i",
    "enrolled_at": "U",
}
HEX = re.compile("[0-9a-f]{64}")  # a SHA-256, as digests and hashes of models are
LOOSE = 1e-3  # of unit length, in what other programs may have written


@dataclass(frozen=True, slots=True)
class VoiceprintFile:
    """What a file of voiceprints holds.

    Attributes:
        model: which made the embeddings.
        speakers: the recordings of each, by name.
        probe: (D,) what the model gives of the probe; None where the file does not say.
    """

    model: ModelIdentity
    speakers: Mapping[str, Sequence[EnrolledRecording]]
    probe: Embeddings | None = None


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export did.

    Attributes:
        speakers: how many are in the file.
        left_out: those of the store who are not, since what it keeps of them cannot be used.
    """

    speakers: int
    left_out: tuple[DamagedVoiceprint, ...]


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did.

    Attributes:
        speakers: how many speakers are new or have new recordings.
        recordings: how many recordings came.
        known: how many were there already, and were left alone.
        elsewhere: names, two each, under which some audio of the file is enrolled more than once; the first of them.
        repeated: how many recordings of the file are so.
        look_alikes: new names, and the name of another speaker that each looks like; the first of them.
    """

    speakers: int
    recordings: int
    known: int
    elsewhere: tuple[tuple[str, str], ...] = ()
    repeated: int = 0
    look_alikes: tuple[tuple[str, str], ...] = ()


def export_voiceprints(store: VoiceprintStore, path: Path, model: str | None = None, force: bool = False) -> Exported:
    """Write all voiceprints of one model into a file.

    Args:
        store: where they are.
        path: of the new file, ending in .npz.
        model: hash of the model, or its beginning; None where the store has those of one only.
        force: replace a file that is there.

    Raises:
        OutputError: the file is there already, or cannot be written.
        StoreError: the store has nobody, or several models and none was named.
    """
    if path.exists() and not force:
        raise OutputError(f"{printable(str(path))}: is there already; give another name, or --force to replace it")
    entries = _of_one_model(store, model)
    left_out = store.damaged()
    rows: list[tuple[str, EnrolledRecording]] = []
    for entry in entries:
        try:
            rows += [(entry.name, recording) for recording in store.voiceprint(entry.name).recordings]
        except DamagedVoiceprintError as error:
            left_out.append(DamagedVoiceprint(entry.id, printable(entry.name), str(error)))
    if not rows:
        raise StoreError(f"{store.location}: has nobody to export whose voiceprint can be used")
    arrays = {
        PATHS: np.array([recording.source for _, recording in rows]),
        EMBEDDINGS: np.stack([recording.embedding for _, recording in rows]),
        NORMS: np.array([number_or_nan(recording.embedding_norm) for _, recording in rows]),
        SPEAKERS: np.array([name for name, _ in rows]),
        MODEL: np.array(entries[0].model.hash),
        MODEL_NAME: np.array(entries[0].model.name),
        **{field: np.array([getattr(recording, field) for _, recording in rows]) for field in FIELDS},
    }
    probe = store.probe(entries[0].model.hash)
    if probe is not None:
        arrays[PROBE] = probe
    with writing(path), replaced_bytes(path, private=True) as file:
        np.savez(file, allow_pickle=False, **arrays)
    return Exported(len({name for name, _ in rows}), tuple(left_out))


def import_voiceprints(
    store: VoiceprintStore, file: VoiceprintFile, actor: str, progress: Callable[[int], object] | None = None
) -> Imported:
    """Enrol all that a file has. What is there already is left alone, so that an interrupted import can be repeated.

    Args:
        store: where to put them.
        file: what `read_voiceprints` read.
        actor: for the audit trail.
        progress: called with the number of speakers that are done since the last call.

    Raises:
        OtherModelError: a speaker is enrolled with another model, or the file's voiceprints are of another model than
            the store's of the same hash; nothing was enrolled.
        StoreError: the embeddings have another size than those of this model in the store; nothing was enrolled.
    """
    model, speakers = file.model, file.speakers
    _check_size(store, file)
    if file.probe is not None:
        check_probe(model, store.probe(model.hash), file.probe)
    for name in speakers:
        _known_digests(store, name, model)  # all refusals come before the first change
    came = recordings = 0
    alike: list[tuple[str, str]] = []
    for name, offered in speakers.items():
        known, version = _known_digests(store, name, model)
        new = [recording for recording in offered if recording.digest not in known]
        if new:
            if version is None and len(alike) < MOST_NAMED:
                alike += [(name, other) for other in store.look_alikes(name)[:1]]
            store.add(name, new, model, version, actor, file.probe)
            came, recordings = came + 1, recordings + len(new)
        if progress is not None:
            progress(1)
    names = store.enrolled_as([recording.digest for offered in speakers.values() for recording in offered])
    shared = [found for found in names.values() if len(found) > 1]
    pairs = tuple(dict.fromkeys((found[0], found[1]) for found in shared))[:MOST_NAMED]
    known_before = sum(map(len, speakers.values())) - recordings
    return Imported(came, recordings, known_before, pairs, len(shared), tuple(alike))


def _check_size(store: VoiceprintStore, file: VoiceprintFile) -> None:
    """Refuse embeddings that are of another size than those that the store has of their model."""
    size = next((found for entry in store.speakers() if (found := _size_of(store, entry, file.model))), None)
    if size is None:
        return
    other = {len(recording.embedding) for offered in file.speakers.values() for recording in offered}
    if other - {size}:
        raise StoreError(
            f"{store.location}: embeddings of model {file.model.hash[:12]} have {size} values there, and those of the "
            f"file {min(other - {size})}; nothing was enrolled"
        )


def _size_of(store: VoiceprintStore, entry: SpeakerEntry, model: ModelIdentity) -> int | None:
    """How many values the embeddings of a speaker have; None for one of another model, or who cannot be used."""
    if entry.model.hash != model.hash:
        return None
    with suppress(DamagedVoiceprintError, UnknownSpeakerError):
        return len(store.voiceprint(entry.name).centroid)
    return None


def _of_one_model(store: VoiceprintStore, model: str | None) -> list[SpeakerEntry]:
    entries = store.speakers()
    if model is not None:
        entries = [entry for entry in entries if entry.model.hash.startswith(model)]
    hashes = sorted({entry.model.hash for entry in entries})
    if len(hashes) > 1:
        shown = ", ".join(text[:12] for text in hashes)
        raise StoreError(f"{store.location}: has voiceprints of several models; name one with --of-model: {shown}")
    if not entries:
        raise StoreError(f"{store.location}: has nobody to export" + ("" if model is None else f" of model {model}"))
    return entries


def _known_digests(store: VoiceprintStore, name: str, model: ModelIdentity) -> tuple[set[str], int | None]:
    """What is enrolled of a speaker, and the version of that."""
    voiceprint = find_voiceprint(store, name)
    if voiceprint is None:
        return set(), None
    if voiceprint.speaker.model.hash != model.hash:
        raise OtherModelError(
            f"'{printable(name)}' is enrolled with model {voiceprint.speaker.model.hash[:12]}, and the file is of "
            f"{model.hash[:12]}; nothing was enrolled"
        )
    return {recording.digest for recording in voiceprint.recordings}, voiceprint.speaker.version


def read_voiceprints(path: Path) -> VoiceprintFile:
    """Read what `export_voiceprints` wrote.

    Raises:
        CorpusError: the file is damaged, or has not all that voiceprints need.
        UsageError: a name in it may not be one.
    """
    file = read_embedding_file(path)
    shown = printable(str(path))
    if file.speakers is None or file.model is None:
        raise CorpusError(f"{shown}: does not say who speaks and which model embedded it; is it of 'speakers export'?")
    columns = _columns(path, len(file.names))
    if not HEX.fullmatch(file.model):
        raise CorpusError(f"{shown}: '{MODEL}' is not the hash of a model (64 hexadecimal digits)")
    if not 1 <= file.embeddings.shape[1] <= MOST_VALUES:
        raise CorpusError(f"{shown}: has embeddings of {file.embeddings.shape[1]:,} values, which no model makes")
    norms = [None if math.isnan(norm) else norm for norm in file.norms.tolist()]
    if not all(norm is None or is_norm(norm) for norm in norms):
        raise CorpusError(f"{shown}: '{NORMS}' has values that no recording has, outside 0 to {LARGEST_NORM:g}")
    speakers: dict[str, list[EnrolledRecording]] = {}
    for index, (name, source) in enumerate(zip(file.speakers, file.names, strict=True)):
        fields = {field: columns[field][index] for field in FIELDS}
        recording = EnrolledRecording(
            id=new_id(), embedding=file.embeddings[index], source=source, embedding_norm=norms[index], **fields
        )
        speakers.setdefault(checked_name(name), []).append(recording)
    return VoiceprintFile(ModelIdentity(columns[MODEL_NAME][0], file.model), speakers, columns.get(PROBE))


def _columns(path: Path, count: int) -> dict[str, Any]:
    """The arrays of FIELDS as lists, the model's name as a list of one, and the probe's embedding, if it is there."""
    shown = printable(str(path))
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {field: stored[field] for field in FIELDS}
            name = str(stored[MODEL_NAME])
            embeddings = np.asarray(stored[EMBEDDINGS], np.float64)
            lengths = np.linalg.norm(embeddings, axis=1)
            probe = {PROBE: stored[PROBE]} if PROBE in stored else {}
    except (OSError, ValueError, KeyError, BadZipFile) as error:
        reason = " ".join(str(error).split())
        raise CorpusError(f"{shown}: is not a file of voiceprints, as 'speakers export' writes it: {reason}") from None
    # As it stands in the file: whoever reads embeddings brings them to unit length.
    if not (np.abs(lengths - 1.0) <= LOOSE).all():
        raise CorpusError(f"{shown}: has embeddings that are not of unit length, such as those of nothing but zeros")
    for one in probe.values():
        if one.shape != embeddings.shape[1:] or one.dtype.kind != "f" or not abs(np.linalg.norm(one) - 1.0) <= LOOSE:
            raise CorpusError(f"{shown}: '{PROBE}' is not an embedding like the others, of unit length")
    if not name.isprintable() or not 0 < len(name) <= LONGEST_NAME:
        raise CorpusError(f"{shown}: '{MODEL_NAME}' is not the name of a model")
    for field, array in arrays.items():
        if array.shape != (count,) or array.dtype.kind != FIELDS[field]:
            raise CorpusError(f"{shown}: '{field}' is not what 'speakers export' writes")
        low, high = RANGES.get(field, (-np.inf, np.inf))
        if array.dtype.kind in "fi" and not ((array >= low) & (array <= high)).all():  # nor are there NaNs then
            raise CorpusError(f"{shown}: '{field}' has values that no recording has, outside {low:g} to {high:g}")
    if (arrays["speech_s"] > arrays["duration_s"] * 1.001).any():
        raise CorpusError(f"{shown}: has recordings with more speech than they last")
    if not all(map(HEX.fullmatch, arrays["digest"].tolist())):
        raise CorpusError(f"{shown}: 'digest' has values that are no SHA-256 (64 hexadecimal digits)")
    if not all(map(_is_time, arrays["enrolled_at"].tolist())):
        raise CorpusError(f"{shown}: 'enrolled_at' has values that are no times as ISO 8601 writes them")
    return {**{field: array.tolist() for field, array in arrays.items()}, MODEL_NAME: [name], **probe}


def _is_time(text: str) -> bool:
    """Whether a text is a time as ISO 8601 writes it."""
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True
