"""Calibrations of models of others that come with the package, each bound to the model that it was fitted for."""

from pathlib import Path

from sound_groove.json_reading import parse_json
from sound_groove.scoring.calibration import ScoreMap

FOLDER = Path(__file__).parent / "calibrations"
NAME_DIGITS = 12  # of the hash in a file's name


def known_calibration(model_hash: str) -> ScoreMap | None:
    """The map from score to log-likelihood ratio of a model, or None where none comes with the package.

    Args:
        model_hash: of the imported model: of its source and of how it is fed, so that what is fed otherwise has none.
    """
    path = FOLDER / f"{model_hash[:NAME_DIGITS]}.json"
    if not path.is_file():
        return None
    fields = parse_json(path.read_text(encoding="utf-8"))
    return ScoreMap.restored(fields["score_map"]) if fields["hash"] == model_hash else None
