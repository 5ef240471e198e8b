"""A model whose calibration is adapted to a folder of recordings: the same file with another score map."""

from pathlib import Path

import numpy as np

from sound_groove.corpora.layouts.listing import audio_below
from sound_groove.curation.corpus import labelled_recordings
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.errors import TrialError
from sound_groove.evaluation.adapting import (
    FEWEST_PEOPLE,
    FEWEST_RECORDINGS,
    Adapted,
    adapt_map,
    clusters_in,
    cohort_in,
    general_map,
    too_few,
)
from sound_groove.evaluation.domain_clusters import drawn_members
from sound_groove.evaluation.domain_material import DomainMaterial, hear_changed, hear_domain
from sound_groove.export.calibrated_file import check_destination, write_calibrated
from sound_groove.scoring.calibration import ScoreMap

MOST_CHANGED = 240  # recordings of people told apart without labels, that are heard in rooms, noise and over lines too


def adapt(
    model: str | Path,
    to: str | Path,
    out: str | Path,
    *,
    labels: str | Path | None = None,
    force: bool = False,
    seed: int = 0,
    threads: int = 1,
) -> Adapted:
    """Write a model whose score map is adapted to a folder of recordings, and that is otherwise the same.

    Args:
        model: a model with a score map: a file, a run folder or a name.
        to: a folder with recordings of one's domain, of many people.
        out: the file to write, with the model's suffix.
        labels: recordings whose speakers are known: a list of `path <tab> speaker`, a folder of speakers' folders, or
            what else `doctor` takes. They may lie in `to` or elsewhere.
        force: replace `out`.
        seed: of what is drawn.
        threads: that decode and compute.

    Raises:
        TrialError: the recordings are too few, or of too few people.
        CheckpointError: the model carries no map, or one that was adapted before.
        CorpusError: there are no recordings.
        OutputError: the file cannot be written.

    Example:
        adapted = adapt("pretrained", to="calls", out="calls.onnx")
        print(adapted.score_map.adapted_to)
    """
    encoder = SpeakerEncoder.load(model, threads=threads)
    general = general_map(encoder)
    path = check_destination(model, general, out, force)
    speakers = {} if labels is None else {one.path: one.speaker for one in labelled_recordings(Path(labels))}
    speakers = {str(Path(name).absolute()): speaker for name, speaker in speakers.items()}
    found = [*audio_below(Path(to), "recordings"), *speakers]
    if len(found) < FEWEST_RECORDINGS:
        raise TrialError(too_few(len(found)))
    material = hear_domain(encoder, found, list(speakers), seed, threads)
    if not speakers:
        material = _with_changes(encoder, general, material, seed, threads)
    adapted = adapt_map(general, material, speakers, seed)
    write_calibrated(model, adapted.score_map, path)
    return adapted


def _with_changes(
    encoder: SpeakerEncoder, general: ScoreMap, material: DomainMaterial, seed: int, threads: int
) -> DomainMaterial:
    """What was heard, and of people who are told apart surely enough what they could have sounded like besides."""
    if len(material.paths) < FEWEST_RECORDINGS:
        return material
    cohort = cohort_in(general, material, seed)
    if cohort.people < FEWEST_PEOPLE or (clusters := clusters_in(general, material, cohort)).weight == 0:
        return material
    rows = drawn_members(clusters, MOST_CHANGED, np.random.default_rng(seed))
    return hear_changed(encoder, material, rows, seed, threads)
