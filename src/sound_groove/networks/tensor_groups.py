"""The groups of a model file's tensors, by the first word of their names, and what names them: hashes.

`network.` is always there; `centre.` holds what is subtracted from embeddings, when something is; `head.` the class
weights, when kept. Only the state from which training resumes has `optimizer.`, `mean.` (sums of weights to be
averaged, or by ear their running mean), `mining.` (which speakers are confused with which) and `pupil.` (the projection
into a teacher's embeddings, and what else is learnt for its sake).
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

NETWORK = "network."
HEAD = "head."
OPTIMIZER = "optimizer."
MEAN = "mean."
MINING = "mining."
PUPIL = "pupil."
CENTRE = "centre."
FRONT_END_OPTIONS = ("floor_db", "silence_share")  # fields of the network's configuration that no tensor shows

GROUPS = (NETWORK, CENTRE, HEAD, OPTIMIZER, MEAN, MINING, PUPIL)


def network_hash(tensors: Mapping[str, Tensor], network: Mapping[str, Any] | None = None) -> str:
    """SHA-256 of what makes embeddings: the tensors and, as far as they are set, the options of front end and network.

    It names the model, not the file: renaming it, dropping the optimiser's state or fitting another calibration changes
    nothing. Where no option is set it is that of the tensors: their names, types, shapes and bytes, in the order of
    their names.

    Args:
        tensors: of network and centre, by full name.
        network: the fields of the network's configuration.
    """
    digest = hashlib.sha256()
    for option in FRONT_END_OPTIONS:
        value = (network or {}).get(option)
        if value is not None:
            digest.update(f"{option}\0{float(value)!r}\0".encode())
    if options := (network or {}).get("options"):
        digest.update(f"options\0{json.dumps(options, sort_keys=True)}\0".encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def embedder_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those that make embeddings."""
    return {key: tensor for key, tensor in tensors.items() if key.startswith((NETWORK, CENTRE))}


def checksums_of(tensors: Mapping[str, Tensor], network: Mapping[str, Any]) -> dict[str, str]:
    """Of each group of tensors that is there; network and centre have one together, which is the model's hash."""
    checksums = {NETWORK: network_hash(embedder_tensors(tensors), network)}
    for group in (HEAD, OPTIMIZER, MEAN, MINING, PUPIL):
        members = {key: tensor for key, tensor in tensors.items() if key.startswith(group)}
        if members:
            checksums[group] = network_hash(members)
    return checksums
