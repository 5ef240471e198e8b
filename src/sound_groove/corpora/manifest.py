"""The manifest: which utterances there are, who speaks in them, where they lie, and on which side of the split.

`manifest.jsonl` holds one object a line, sorted by speaker and utterance. It is the only thing that training needs to
know of a corpus, and its SHA-256 names the data that a model was trained on.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from sys import intern
from typing import Any, Literal

from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.errors import CorpusError
from sound_groove.files import replaced
from sound_groove.json_reading import bounded_lines, parse_json

MANIFEST_NAME = "manifest.jsonl"


Split = Literal["train", "validation"]


@dataclass(frozen=True, slots=True)
class Utterance:
    """One utterance of one speaker: a file, or short neighbouring files that are read as one, without a gap.

    Attributes:
        key: `speaker/utterance`, unique in the corpus; the utterance's part may hold further slashes.
        speaker: who speaks.
        paths: absolute paths of the audio, in the order in which they are joined.
        samples: length of each at 16 kHz.
        split: `train` or `validation`; no speaker is on both sides.
        genre: such as `singing`, where the corpus tells.
        session: the recording session or video, where the corpus tells and where joined files agree on it.
        feature_path: absolute path of the stored features, or None.
        shard_path: absolute path of the shard that holds the whole, joined, or None where it is not packed.
        shard_offset: where in the shard it begins, in samples.
    """

    key: str
    speaker: str
    paths: tuple[str, ...]
    samples: tuple[int, ...]
    split: Split
    genre: str | None
    session: str | None
    feature_path: str | None
    shard_path: str | None = None
    shard_offset: int = 0

    @property
    def duration_s(self) -> float:
        """Length of the whole, in seconds."""
        return sum(self.samples) / SAMPLE_RATE

    @property
    def name(self) -> str:
        """The key without the speaker."""
        return self.key[len(self.speaker) + 1 :]


def write_manifest(path: Path, utterances: Iterable[Utterance]) -> None:
    """Write a manifest in one piece: the file is either the old one or the whole new one."""
    with replaced(path) as file:
        for utterance in utterances:
            file.write(encode_line(utterance_record(utterance)))


def utterance_record(utterance: Utterance) -> dict[str, Any]:
    """The object that stands in the manifest for an utterance."""
    packed = {"shard_path": utterance.shard_path, "shard_offset": utterance.shard_offset}
    return {
        "utterance": utterance.key,
        "speaker": utterance.speaker,
        "paths": utterance.paths,
        "samples": utterance.samples,
        "duration_s": round(utterance.duration_s, 3),
        "split": utterance.split,
        "genre": utterance.genre,
        "session": utterance.session,
        "feature_path": utterance.feature_path,
        **(packed if utterance.shard_path is not None else {}),  # so that other manifests keep their hash
    }


def read_manifest(folder_or_file: str | Path) -> list[Utterance]:
    """Read a manifest.

    Args:
        folder_or_file: the file, or the folder that `prepare` wrote.

    Returns:
        The utterances in the manifest's order. Strings that many utterances share exist once: 640,000 utterances
        take about 0.3 GB.

    Raises:
        CorpusError: there is no manifest, or a line of it is not as it should be.
    """
    path = manifest_path(folder_or_file)
    utterances: list[Utterance] = []
    try:
        with path.open(encoding="utf-8") as file:
            for line in bounded_lines(file):
                utterances.append(_utterance(parse_json(line)))
    except FileNotFoundError:
        raise CorpusError(f"{path}: no such manifest; 'sound-groove prepare' writes it") from None
    except (KeyError, TypeError, ValueError) as error:  # ValueError covers JSON and UTF-8
        line_number = len(utterances) + 1
        raise CorpusError(f"{path}, line {line_number}: not a line of a manifest ({_complaint(error)})") from None
    if not utterances:
        raise CorpusError(f"{path}: the manifest is empty; run 'sound-groove prepare' again")
    return utterances


def manifest_path(folder_or_file: str | Path) -> Path:
    """The manifest's own path, given that or the folder that it lies in."""
    path = Path(folder_or_file)
    return path / MANIFEST_NAME if path.is_dir() else path


def manifest_hash(path: str | Path) -> str:
    """SHA-256 of a manifest (hexadecimal), given the file or its folder.

    Raises:
        CorpusError: there is no manifest.
    """
    try:
        with manifest_path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        raise CorpusError(f"{manifest_path(path)}: no such manifest; 'sound-groove prepare' writes it") from None


def encode_line(record: object) -> str:
    """One line of a .jsonl file.

    >>> encode_line({"speaker": "张三", "samples": (1, 2)})
    '{"speaker": "张三", "samples": [1, 2]}\\n'
    """
    return json.dumps(record, ensure_ascii=False) + "\n"


def _utterance(record: dict[str, Any]) -> Utterance:
    paths, samples = tuple(record["paths"]), tuple(record["samples"])
    key, speaker, split = record["utterance"], record["speaker"], record["split"]
    if not all(isinstance(text, str) and text for text in (key, speaker, *paths)):
        raise ValueError("utterance, speaker and paths must be text")
    if not key.startswith(speaker + "/"):
        raise ValueError("the utterance must be named speaker/utterance")
    if not paths or len(paths) != len(samples) or not all(type(count) is int and count > 0 for count in samples):
        raise ValueError("each path needs its count of samples")
    if split not in ("train", "validation"):
        raise ValueError("the split must be train or validation")
    shard_path = record.get("shard_path")
    shard_offset = 0 if shard_path is None else record["shard_offset"]
    if not isinstance(shard_path, str | None) or type(shard_offset) is not int or shard_offset < 0:
        raise ValueError("the shard must be a path, and the offset in it a count of samples")
    return Utterance(
        key=key,
        speaker=intern(speaker),
        paths=paths,
        samples=samples,
        split="train" if split == "train" else "validation",
        genre=_shared(record.get("genre")),
        session=_shared(record.get("session")),
        feature_path=record.get("feature_path"),
        shard_path=_shared(shard_path),
        shard_offset=shard_offset,
    )


def _shared(text: str | None) -> str | None:
    return None if text is None else intern(text)


def _complaint(error: Exception) -> str:
    return f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)
