"""From a file of others to one of ours: waveform in, unit embedding out, the front end inside."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sound_groove._version import __version__
from sound_groove.audio.front_end import Floor, FrontEnd, parsed_front_end
from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.audio.pieces import repeated
from sound_groove.encoder.onnx_model import UNIT_WITHIN
from sound_groove.errors import CheckpointError, UsageError, printable
from sound_groove.export.onnx_file import running
from sound_groove.export.parity import SHORTEST_SAMPLES
from sound_groove.export.placing import ExportedFile, check_free, place
from sound_groove.export.precision import LEAST_PROBE_COSINE
from sound_groove.export.tracing import carry_probe, describe, serialised
from sound_groove.importing.finding import Finding, find_front_end
from sound_groove.importing.known_calibrations import known_calibration
from sound_groove.importing.sources import Source, described, open_source
from sound_groove.importing.speech import made_up_speech, speech_of
from sound_groove.networks.probe import probe_signal
from sound_groove.scoring.calibration import ScoreMap
from sound_groove.synthesis.voices import made_up_speaker, speak
from sound_groove.types import ModelIdentity, Samples

CHECKED_S = (0.3, 2.0, 3.7, 10.0)  # of made-up voices on which file and source are compared
LEAST_COSINE = 0.99999


@dataclass(frozen=True)
class ImportedModel(ExportedFile):
    """A file that was written, compared with the source fed so.

    Attributes:
        front_end: how it is fed.
        source_sha256: of the file that it was made of.
        score_map: that it came with, None where it came with none.
    """

    front_end: FrontEnd
    source_sha256: str
    score_map: ScoreMap | None

    @property
    def calibration_note(self) -> str:
        """What its user should know of its scores, in a sentence."""
        if self.score_map is None:
            return "not calibrated: it gives scores, and 'sound-groove calibrate' gives them a meaning"
        return f"calibrated: a map comes with the package, fitted on {self.score_map.collections} collections"


@dataclass(frozen=True, slots=True)
class Examined:
    """A source and how it is to be fed.

    Attributes:
        source: what was opened.
        front_end: how it is to be fed.
        finding: what came of trying it; None where it was not to be tried.
        notes: what its user should know, a sentence each.
    """

    source: Source
    front_end: FrontEnd
    finding: Finding | None
    notes: tuple[str, ...]


def examine(
    path: str | Path,
    front_end: str | None = None,
    floor: Floor | None = None,
    speech: str | Path | None = None,
    pinned: bool = False,
    tell: Callable[[str], None] = lambda line: None,
) -> Examined:
    """Open a file of others, and find out how it is to be fed.

    What the user names is fed, whatever comes of trying it. What the file's family asks for is fed unless real speech
    shows that something else is better; then that is.

    Args:
        path: a speaker model in ONNX, or a state dictionary as others publish it.
        front_end: how it is fed, as `--front-end` takes it; None asks the file.
        floor: to be laid under the energies; the makers' own when None.
        speech: a folder laid out as speaker/**/audio, to try it on; made-up voices when None.
        pinned: how it is fed is known of this very file, so that nothing is tried.
        tell: is told of each candidate before it is tried.

    Raises:
        CheckpointError: the file cannot be used, or it does well in no way that is known here.
        CorpusError, UsageError: the front end or the speech cannot be used.
    """
    source = open_source(path)
    claimed = chosen_front_end(source, front_end, floor)
    if pinned and claimed is not None:
        return Examined(source, claimed, None, ())
    spoken = made_up_speech() if speech is None else speech_of(speech)
    finding = find_front_end(source.fed, claimed, source.bins, spoken, tell)
    name = printable(str(source.path))
    if not finding.does_well and front_end is None:
        raise CheckpointError(
            f"{name}: does well in none of the ways that were tried on {finding.speech} (the best EER is "
            f"{100 * finding.least_eer:.0f} %); name what it is fed with --front-end, or other speech with --speech"
        )
    notes = []
    taken, best = finding.claimed, finding.best
    if best != taken:
        who = "names its family" if front_end is None else "is to be fed as was asked"
        if front_end is None and not finding.is_made_up:
            taken = best
        notes.append(
            f"{name}: {who} and behaves otherwise on {finding.speech}: it does better with {best.description} than "
            f"with {finding.claimed.description}; it is fed {taken.description}"
        )
    if not finding.does_well:
        notes.append(f"{name}: does well in none of the ways that were tried on {finding.speech}")
    if floor is not None:
        taken = replace(taken, floor=floor)
    return Examined(source, taken, finding, tuple(notes))


def import_model(
    path: str | Path,
    out: str | Path,
    force: bool = False,
    front_end: str | None = None,
    floor: Floor | None = None,
    speech: str | Path | None = None,
    pinned: bool = False,
    name: str | None = None,
    data: str | None = None,
    licence: str | None = None,
    use: str = "",
) -> ImportedModel:
    """Make a speaker model of others one of ours: one ONNX file, waveform in, unit embedding out.

    The file carries its front end, its origin with the SHA-256 of the source, and the licence. It is not calibrated,
    unless a calibration of this very source, fed so, comes with the package.

    Args:
        path: as `examine` takes it, and the next four too.
        out: the file to write; it must end in .onnx.
        force: replace a file that is there.
        front_end: how it is fed; None asks the file.
        floor: to be laid under the energies; the makers' own when None.
        speech: a folder laid out as speaker/**/audio to try it on; made-up voices when None.
        pinned: how it is fed is known of this very file, so that nothing is tried.
        name: the model's; that of the source's file when None.
        data: what it was trained on, in words.
        licence: of the model; what the source says of it when None.
        use: what alone it may be used for; empty where the licence sets no such bound.

    Raises:
        CheckpointError: the file cannot be used, or the file to write disagrees with it.
        CorpusError, UsageError: an argument cannot be used.
        OutputError: the file is there already, or cannot be written.
        MissingExtraError: something that importing needs is not installed.

    Example:
        import_model("campplus_cn_en_common.pt", "campplus.onnx", licence="Apache-2.0")
    """
    out = writable(out, force)
    found = examine(path, front_end, floor, speech, pinned)
    return write_imported(found, out, force, name, data, licence, use)


def writable(out: str | Path, force: bool) -> Path:
    """The file to write.

    Raises:
        OutputError: it is there already, or there is no such folder.
        UsageError: it does not end in .onnx.
    """
    out = Path(out)
    if out.suffix != ".onnx":
        raise UsageError(f"{printable(str(out))}: must end in .onnx")
    check_free(out, force)
    return out


def write_imported(
    found: Examined,
    out: str | Path,
    force: bool = False,
    name: str | None = None,
    data: str | None = None,
    licence: str | None = None,
    use: str = "",
    address: str = "",
) -> ImportedModel:
    """Write a source as one file of ours, fed as it was found.

    Args:
        found: the source, and how it is fed.
        out: the file to write; it must end in .onnx.
        force: replace a file that is there.
        name: the model's; that of the source's file when None.
        data: what it was trained on, in words.
        licence: of the model; what the source says of it when None.
        use: what alone it may be used for; empty where the licence sets no such bound.
        address: where the source came from, which the file then says.

    Raises:
        CheckpointError: the network fails, or the file disagrees with the source; nothing is written.
        OutputError: the file is there already, or cannot be written.
        UsageError: `out` does not end in .onnx.
    """
    out = writable(out, force)
    source, front_end = found.source, found.front_end
    size, tells_norm = _tried(source, front_end)
    proto = source.network.joined(front_end, tells_norm)
    called = source.path.stem if name is None else name
    digest = imported_hash(source.sha256, front_end)
    score_map = known_calibration(digest)
    network: dict[str, Any] = {"kind": source.kind or "of others", "embedding_size": size}
    entries: dict[str, object] = {
        "name": called,
        "hash": digest,
        "sample_rate": SAMPLE_RATE,
        "embedding_size": size,
        "network": json.dumps(network),
        "score_map": json.dumps(None if score_map is None else score_map.as_dict()),
        "centre": "null",
        "description": f"imported from {source.path.name}",
        "data": data or "",
        "licence": source.metadata.get("licence", source.metadata.get("license", "")) if licence is None else licence,
        "use": use,
        "training": "{}",
        "front_end": json.dumps(front_end.as_dict()),
        "front_end_found": json.dumps(None if found.finding is None else found.finding.as_dict()),
        "origin": json.dumps(described(source) | ({"address": address} if address else {})),
        "precision": "fp32",
        "shortest_samples": SHORTEST_SAMPLES,
        "sound_groove": __version__,
    }
    if source.longest_samples is not None:
        entries["longest_samples"] = source.longest_samples
    describe(proto, entries)
    embed = running(proto.SerializeToString())
    theirs, worst = source.fed(front_end), 1.0
    for batch in _checked_voices(source.rows or 2):
        expected = theirs(torch.from_numpy(batch)).double()
        embeddings = embed(batch).astype(np.float64)
        expected = expected / expected.norm(dim=1, keepdim=True)
        worst = min(worst, float((embeddings * expected.numpy()).sum(axis=1).min()))
    if not worst >= LEAST_COSINE:
        raise CheckpointError(
            f"{printable(str(source.path))}: the imported file disagrees with it (cosine {worst:.6f}, and "
            f"{LEAST_COSINE} is asked for); nothing was written"
        )
    carry_probe(proto, embed(probe_signal()[None])[0], LEAST_PROBE_COSINE["fp32"])
    written = place(out, serialised(proto), ModelIdentity(called, digest), size, worst, CHECKED_S)
    return ImportedModel(**vars(written), front_end=front_end, source_sha256=source.sha256, score_map=score_map)


def imported_hash(source_sha256: str, front_end: FrontEnd) -> str:
    """The hash of an imported model (hexadecimal): of its source and of how it is fed.

    Args:
        source_sha256: SHA-256 of the file that it was made from.
        front_end: how it is fed.
    """
    told = json.dumps(front_end.as_dict(), sort_keys=True)
    return hashlib.sha256(f"{source_sha256}\0{told}".encode()).hexdigest()


def chosen_front_end(source: Source, asked: str | None, floor: Floor | None) -> FrontEnd | None:
    """How a source is to be fed: as the user asks, else as its family is; None where neither tells.

    Args:
        source: the file.
        asked: as `--front-end` takes it.
        floor: to be laid under the energies; the makers' own when None.

    Raises:
        UsageError: there is no such front end, or it is not one for what the file takes.
    """
    front_end = source.front_end if asked is None else parsed_front_end(asked, source.bins)
    if front_end is None:
        return None
    name = printable(str(source.path))
    if source.takes_waveforms != (front_end.family == "waveform"):
        takes = "waveforms, with its front end inside" if source.takes_waveforms else f"{source.bins} features a frame"
        raise UsageError(f"{name}: takes {takes}; the front end '{front_end.family}' is not for it")
    if source.takes_waveforms and floor == "step":
        raise UsageError(f"{name}: has its front end inside, under which no floor can be laid; leave out --floor")
    return front_end if floor is None else replace(front_end, floor=floor)


def _tried(source: Source, front_end: FrontEnd) -> tuple[int, bool]:
    """The size of its embedding of some noise, and whether their length says something.

    Raises:
        CheckpointError: it is not usable.
    """
    noise = np.random.default_rng(0).normal(scale=0.1, size=(source.rows or 2, 2 * SAMPLE_RATE)).astype(np.float32)
    found = source.fed(front_end)(torch.from_numpy(noise))
    if len(found) != len(noise) or not found.isfinite().all() or not bool((found != 0).any()):
        raise CheckpointError(
            f"{printable(str(source.path))}: gives no usable embedding of noise; it is no speaker model"
        )
    return found.shape[1], bool(abs(float(found[0].norm()) - 1.0) > UNIT_WITHIN)


def _checked_voices(rows: int) -> list[Samples]:
    """Batches (rows, samples) of made-up voices of several lengths."""
    batches = []
    for number, duration_s in enumerate(CHECKED_S):
        voice = speak(made_up_speaker(0, number), 0, max(duration_s, 0.5))[: int(duration_s * SAMPLE_RATE)]
        whole = repeated(voice, SHORTEST_SAMPLES)
        batches.append(np.stack([whole if row % 2 == 0 else whole[::-1] for row in range(rows)]))
    return batches
