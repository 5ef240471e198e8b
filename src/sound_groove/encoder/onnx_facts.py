"""The facts of a model in ONNX, of ours or of others, as `sound-groove info` shows them; without torch."""

from pathlib import Path
from typing import Any

from sound_groove.audio.front_end import restored_front_end
from sound_groove.encoder.onnx_content import read_onnx
from sound_groove.encoder.onnx_model import content_hash, identity_of, is_own_file
from sound_groove.encoder.onnx_trial import try_onnx
from sound_groove.json_reading import parse_json

KINDS = {2: "waveform-in", 3: "feature-in"}  # by the axes of what the model takes: (B, samples) or (B, T, F)
DEFAULT_OPERATORS = ("", "ai.onnx")  # two names of one set


def describe_onnx(path: str | Path) -> dict[str, Any]:
    """The facts of a model in ONNX, as JSON can hold them.

    A file of ours has `network`, `score_map` and `training` as a checkpoint has them, and, where it was imported,
    `front_end`, `front_end_found` and `origin`; what else the file says of itself is in `metadata`. `problem` is null,
    or the sentence that says why the model cannot be used here. That is found out in a process of its own: nothing of
    the file is run in this one.

    Raises:
        CheckpointError: the file is missing, damaged, or no ONNX file.
    """
    path = Path(path)
    content = read_onnx(path)
    identity = identity_of(path, content.metadata, content_hash(path))
    metadata = {key: _parsed(value) for key, value in sorted(content.metadata.items())}
    last = next(iter(content.outputs.values()), [])[-1:]
    trial = try_onnx(path)
    size = trial.embedding_size or (last[0] if last and isinstance(last[0], int) else None)
    own = dict.fromkeys(("network", "front_end", "front_end_found", "origin", "score_map", "training"))
    if is_own_file(content.metadata):
        own = {key: metadata.pop(key, None) for key in own}
        own["front_end"] = _front_end(own["front_end"])
        metadata = {key: value for key, value in metadata.items() if key not in ("name", "hash", "embedding_size")}
    return {
        "file": str(path),
        "name": identity.name,
        "hash": identity.hash,
        "bytes": path.stat().st_size,
        "kind": KINDS.get(len(next(iter(content.inputs.values())))) if len(content.inputs) == 1 else None,
        "problem": trial.problem,
        "embedding_size": size,
        "inputs": content.inputs,
        "outputs": content.outputs,
        "opset": next((content.opsets[name] for name in DEFAULT_OPERATORS if name in content.opsets), None),
        "other_opsets": {name: at for name, at in content.opsets.items() if name not in DEFAULT_OPERATORS},
        "precision": max(content.values, key=lambda name: content.values[name], default=None),
        "values": content.values,
        "producer": content.producer,
        **own,
        "metadata": metadata,
    }


def _front_end(fields: Any) -> Any:
    """What the file says of its front end, with its description; as it is where that is damaged."""
    if not isinstance(fields, dict):
        return fields
    try:
        return {"description": restored_front_end(fields).description, **fields}
    except ValueError:
        return fields


def _parsed(text: str) -> Any:
    """What an entry means: an object or list in JSON, a whole number that is written as one, or else the text itself.

    >>> _parsed('{"scale": 2.5}'), _parsed("16000"), _parsed("1.10"), _parsed("[unknown]")
    ({'scale': 2.5}, 16000, '1.10', '[unknown]')
    """
    if text.isascii() and text.isdecimal() and len(text) < 19 and str(int(text)) == text:
        return int(text)
    if text == "null":
        return None
    if text[:1] in ("{", "["):
        try:
            return parse_json(text)
        except ValueError:
            return text
    return text
