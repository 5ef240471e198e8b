"""A model file with a calibration in it: nothing else of the file changes."""

import json
from dataclasses import replace
from pathlib import Path

from sound_groove.errors import OutputError, printable, require_extra
from sound_groove.export.placing import check_free, refuse_packaged
from sound_groove.export.tracing import serialised
from sound_groove.files import replaced_bytes, writing
from sound_groove.networks.checkpoint import find_checkpoint, load_checkpoint, save_checkpoint
from sound_groove.networks.tensor_groups import GROUPS
from sound_groove.pretrained import model_path
from sound_groove.scoring.calibration import ScoreMap

METADATA_KEY = "score_map"


def check_destination(model: str | Path, carried: ScoreMap | None, out: str | Path | None, force: bool) -> Path:
    """The file to write: `out`, or the model itself.

    Args:
        model: a model file or run folder.
        carried: the map that it carries already.
        out: another file, with the same suffix.
        force: replace a file that is there, or a calibration that the model carries.

    Raises:
        CheckpointError: there is no such model.
        OutputError: something would be lost, or the file cannot be written there.
    """
    source = _source(model, out)
    if out is None:
        refuse_packaged(source)
        if carried is not None and carried.calibrated and not force:
            raise OutputError(
                f"{printable(str(source))}: is calibrated already, on {printable(carried.fitted_on)}; replace that "
                "with --force, or write another file with --out"
            )
        return source
    path = Path(out)
    if path.suffix != source.suffix:
        raise OutputError(f"{printable(str(path))}: must end in {source.suffix}, as the model does")
    check_free(path, force)
    return path


def _source(model: str | Path, out: str | Path | None) -> Path:
    """The file whose copy, or itself, is to be written; of the packaged model the one of the same kind as `out`."""
    return find_checkpoint(model_path(model, Path(out or "").suffix or ".onnx"))


def write_calibrated(model: str | Path, score_map: ScoreMap, path: Path) -> None:
    """Write a model with this score map.

    Args:
        model: a model file or run folder.
        score_map: the map.
        path: the file to write, which may be the model's own; it is replaced in one piece.

    Raises:
        CheckpointError: the model cannot be read.
        OutputError: the file cannot be written.
        MissingExtraError: the model is in ONNX, and the package that reads it is not installed.
    """
    source = _source(model, path)
    if source.suffix != ".onnx":
        checkpoint = load_checkpoint(source, GROUPS)
        save_checkpoint(path, checkpoint.tensors, replace(checkpoint.header, score_map=score_map.as_dict()))
        return
    require_extra("Calibrating a model in ONNX", "train", "onnx")
    import onnx

    proto = onnx.load(str(source))
    entries = {entry.key: entry for entry in proto.metadata_props}
    entry = entries.get(METADATA_KEY) or proto.metadata_props.add()
    entry.key, entry.value = METADATA_KEY, json.dumps(score_map.as_dict())
    with writing(path), replaced_bytes(path) as file:
        file.write(serialised(proto))
