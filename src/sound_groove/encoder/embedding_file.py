"""Files of embeddings: what `embed` writes, and what a teacher or a cohort may be. numpy only, nothing unpickled."""

from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from sound_groove.errors import CorpusError, printable
from sound_groove.types import Embeddings

PATHS, EMBEDDINGS = "path", "emb"  # the arrays of every file: names (N,) and embeddings (N, D)
# Arrays that a file may have: who speaks (N,), the hash of the model (), and the norms that the embeddings had before
# they were brought to unit length (N,), NaN where one is not known.
SPEAKERS, MODEL, NORMS = "speaker", "model", "norms"


@dataclass(frozen=True, slots=True)
class EmbeddingFile:
    """What a file of embeddings holds.

    Attributes:
        names: (N,) of the recordings, usually their paths.
        embeddings: (N, D) unit length; rows of zeros stay.
        speakers: (N,) who speaks; None where the file does not say.
        model: hash of the model; None where the file does not say.
        norms: (N,) float64, of the embeddings before they were brought to unit length; NaN where the file does not say.
    """

    names: tuple[str, ...]
    embeddings: Embeddings
    speakers: tuple[str, ...] | None
    model: str | None
    norms: NDArray[np.float64]


def read_embedding_file(path: Path) -> EmbeddingFile:
    """Read a .npz file of embeddings.

    Raises:
        CorpusError: it does not hold what it should.
    """
    name = printable(str(path))
    try:
        with np.load(path, allow_pickle=False) as stored:
            names, embeddings = stored[PATHS], np.asarray(stored[EMBEDDINGS], dtype=np.float32)
            speakers = stored.get(SPEAKERS)
            model = str(stored[MODEL]) if MODEL in stored else None
            norms = stored[NORMS] if NORMS in stored else np.full(names.shape, np.nan)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, BadZipFile) as error:
        reason = " ".join(str(error).split())
        raise CorpusError(f"{name}: is not a file of embeddings ('{PATHS}', '{EMBEDDINGS}'): {reason}") from None
    if names.ndim != 1 or names.dtype.kind != "U" or embeddings.ndim != 2 or len(names) != len(embeddings):
        raise CorpusError(
            f"{name}: '{PATHS}' must be texts (N,) and '{EMBEDDINGS}' numbers (N, D); they are "
            f"{names.dtype} {names.shape} and {embeddings.shape}"
        )
    if not np.isfinite(embeddings).all():
        raise CorpusError(f"{name}: holds embeddings that are not finite numbers")
    if speakers is not None and (speakers.shape != names.shape or speakers.dtype.kind != "U"):
        raise CorpusError(
            f"{name}: '{SPEAKERS}' must be texts, one for each of the {len(names)} names; it is "
            f"{speakers.dtype} {speakers.shape}"
        )
    is_each = norms.shape == names.shape and norms.dtype.kind == "f"
    if not is_each or not (np.isnan(norms) | ((norms >= 0) & (norms < np.inf))).all():
        raise CorpusError(
            f"{name}: '{NORMS}' must be lengths, or NaN where one is not known, one for each of the {len(names)} "
            f"names; it is {norms.dtype} {norms.shape}{' and has other numbers' if is_each else ''}"
        )
    told = None if speakers is None else tuple(speakers.tolist())
    return EmbeddingFile(tuple(names.tolist()), unit_rows(embeddings), told, model, norms.astype(np.float64))


def unit_rows(embeddings: NDArray[np.float32]) -> Embeddings:
    """Rows (N, D) of unit length; rows of zeros stay."""
    length = np.linalg.norm(embeddings, axis=1, keepdims=True)
    return np.asarray(embeddings / np.where(length > 0, length, 1.0), dtype=np.float32)
