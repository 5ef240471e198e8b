"""The two files of the model in the package: `.onnx` in halves, and `.safetensors` with what that lacks for training.

The matrices are in the ONNX file alone (`sound_groove.networks.matrices`), so that they are carried once. Both files
carry the hash and the calibration of the model that they are made from, which has its matrices in halves, as
`sound-groove export --format safetensors --precision fp16` writes it.
"""

from dataclasses import replace
from pathlib import Path

import torch

from sound_groove.errors import CheckpointError, printable, require_extra
from sound_groove.export.onnx_file import export_onnx
from sound_groove.export.placing import check_free
from sound_groove.export.precision import HALF
from sound_groove.export.serving_ecapa import is_served, places
from sound_groove.networks.checkpoint import load_checkpoint, restore_network, save_checkpoint
from sound_groove.networks.matrices import StoredMatrix
from sound_groove.networks.tensor_groups import NETWORK
from sound_groove.pretrained import PRETRAINED


def write_package_files(
    model: str | Path, folder: Path, force: bool = False, name: str = PRETRAINED
) -> tuple[Path, Path]:
    """Write a model as `NAME.onnx` and `NAME.safetensors`.

    Args:
        model: an ECAPA-TDNN, its matrices in halves, whatever it is called.
        folder: where to.
        name: what it is called in them. A file that claims to be `pretrained` is read as an unlisted one until
            `sound_groove.pretrained.CONTENTS` has its sum.
        force: replace files that are there.

    Returns:
        The two files.

    Raises:
        CheckpointError: the model cannot be used, is another network or not in halves.
        OutputError: a file is there already, or cannot be written.
        MissingExtraError: something that exporting needs is not installed.
    """
    require_extra("Exporting", "train", "torch", "onnx", "onnxscript", "onnxruntime")
    import onnx

    checkpoint = load_checkpoint(model)
    network = restore_network(checkpoint)
    if not is_served(network):
        raise CheckpointError(f"{printable(str(model))}: only our ECAPA-TDNN has the same matrices in both files")
    in_halves = {name for name, tensor in checkpoint.tensors.items() if tensor.dtype == torch.float16}
    if not in_halves:
        raise CheckpointError(f"{printable(str(model))}: is not in halves; export it with --precision fp16 first")
    path = folder / f"{name}.safetensors"
    check_free(path, force)
    exported = export_onnx(model, path.with_suffix(".onnx"), force, "fp16", name=name).file
    stored = {tensor.name for tensor in onnx.load(str(exported)).graph.initializer}
    elsewhere = {}
    for own, place in places(network).items():
        parts = tuple(f"{NETWORK}{part}{HALF}" for part in place.parts)
        if f"{NETWORK}{own}" in in_halves and stored.issuperset(parts):
            elsewhere[f"{NETWORK}{own}"] = StoredMatrix(parts, place.shape, place.axes)
    save_checkpoint(path, checkpoint.tensors, replace(checkpoint.header, name=name), elsewhere)
    load_checkpoint(path)  # which compares what the two files hold with the model's hash
    return exported, path
