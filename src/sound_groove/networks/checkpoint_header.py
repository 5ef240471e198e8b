"""What a model file says of itself: JSON under one key of its metadata, with checksums of itself and of its tensors."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sound_groove.errors import CheckpointError
from sound_groove.json_reading import parse_json, through_json

HEADER_KEY = "sound_groove"
_FORMAT = "sound-groove checkpoint"
_VERSION = 1
_CHECKSUMS = "checksums"


@dataclass(frozen=True, slots=True)
class CheckpointHeader:
    """What a model file says about itself; every value can be written as JSON.

    Attributes:
        name: the model's name, usually the run's.
        network: the fields of the `NetworkConfiguration` that builds it.
        score_map: the fields of the `ScoreMap` (score -> log-likelihood ratio), or None when none was fitted.
        training: the facts of its training: recipe, epoch, step, validation EER, data and its licence, versions.
        probe: the fields of the `Probe` by which it proves itself where it is loaded; None in files without one.
    """

    name: str
    network: dict[str, Any]
    score_map: dict[str, Any] | None = None
    training: dict[str, Any] = field(default_factory=dict)
    probe: dict[str, Any] | None = None


def header_text(path: Path, header: CheckpointHeader, checksums: Mapping[str, str]) -> str:
    document: dict[str, Any] = {
        "format": _FORMAT,
        "version": _VERSION,
        "name": header.name,
        "network": header.network,
        "score_map": header.score_map,
        "training": header.training,
        "probe": header.probe,
    }
    try:
        document = through_json(document)
        document[_CHECKSUMS] = {**checksums, HEADER_KEY: _document_hash(document)}
        return json.dumps(document, ensure_ascii=True, allow_nan=False, sort_keys=True)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: the header cannot be written as JSON: {error}") from error


def _document_hash(document: Mapping[str, Any]) -> str:
    """SHA-256 of a header's values, but for its checksums."""
    values = {key: value for key, value in document.items() if key != _CHECKSUMS}
    return hashlib.sha256(json.dumps(values, ensure_ascii=True, sort_keys=True).encode()).hexdigest()


def read_header(name: str, metadata: Mapping[str, str] | None) -> tuple[CheckpointHeader, dict[str, Any]]:
    """What a file says of itself, and the checksums of its groups of tensors (none in files of earlier versions)."""
    if not metadata or HEADER_KEY not in metadata:
        raise CheckpointError(
            f"{name}: is a safetensors file, but not one that Sound-Groove wrote (its header is missing)"
        )
    try:
        document = parse_json(metadata[HEADER_KEY])
    except ValueError as error:
        raise CheckpointError(f"{name}: its header is damaged: {error}") from None
    if not isinstance(document, dict) or document.get("format") != _FORMAT:
        raise CheckpointError(f"{name}: its header is not that of a Sound-Groove model")
    version = document.get("version")
    if version != _VERSION:
        raise CheckpointError(
            f"{name}: has format version {version!r}, and this Sound-Groove reads {_VERSION}; upgrade Sound-Groove"
        )
    expected: tuple[tuple[str, tuple[type, ...]], ...] = (
        ("name", (str,)),
        ("network", (dict,)),
        ("score_map", (dict, type(None))),
        ("training", (dict,)),
    )
    for key, types in expected:
        if key not in document or not isinstance(document[key], types):
            raise CheckpointError(f"{name}: its header is damaged: '{key}' is missing or of the wrong type")
    checksums = document.get(_CHECKSUMS, {})
    if not isinstance(checksums, dict) or (checksums and checksums.get(HEADER_KEY) != _document_hash(document)):
        raise CheckpointError(f"{name}: its header is damaged: it is not what was written; restore it from a copy")
    header = CheckpointHeader(
        document["name"], document["network"], document["score_map"], document["training"], document.get("probe")
    )
    return header, checksums
