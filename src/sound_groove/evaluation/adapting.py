"""A model's score map adapted to the recordings of one's own domain, without labels or with few of them.

Only the map changes, never the embeddings: voiceprints and indexes that were made with the model stay what they are.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from sound_groove.errors import CheckpointError, MetricError, TrialError, printable
from sound_groove.evaluation.domain_clusters import Clusters, clustered_pairs, find_clusters, pairs_of
from sound_groove.evaluation.domain_material import WHOLE, DomainMaterial
from sound_groove.evaluation.embedding import Encoder
from sound_groove.evaluation.version_pairs import Pairs, Versions
from sound_groove.networks.trained_speakers import speaker_digests
from sound_groove.scoring.adaptation import (
    COUNTED,
    Cohort,
    Moved,
    cohort_of,
    moved_by_cohort,
    moved_by_labels,
    people_in,
)
from sound_groove.scoring.baseline import Baseline
from sound_groove.scoring.calibration import ScoreMap
from sound_groove.scoring.decision import DecisionRule
from sound_groove.scoring.domain import Domain
from sound_groove.types import Scores

FEWEST_RECORDINGS = 20
FEWEST_PEOPLE = 4.0  # found without labels: one who acts emotions passes for two or three
ASSUMED_PEOPLE = 12.0  # by whom the first change is made, after which people are counted
FEWEST_LABELLED = 3  # speakers
MOST_SHORTENED = 0.05  # share of recordings that were heard in part, with which the rest still tells how long they are
FEWEST_PLANTED = 10  # pairs of a recording's two ends, of fewer of which no shares are told
PAIRS = 100_000  # that are drawn

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class PlantedCheck:
    """What verdicts planted pairs get, at even odds and the default costs: all that can be checked without labels.

    Attributes:
        planted: pairs of the two ends of one recording.
        others: pairs of ends of different recordings, nearly all of two people.
        before: by the map that the model carried, the shares: `planted_same` and `planted_different` of the one kind,
            `others_same` and `others_different` of the other.
        after: by the adapted map.
    """

    planted: int
    others: int
    before: Mapping[str, float]
    after: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Adapted:
    """What came of adapting.

    Attributes:
        score_map: the adapted map; `adapted_to` says to what.
        cohort: what was seen of the recordings without labels.
        check: planted pairs under both maps; None where there are too few.
        unusable: recordings that could not be used, and why.
        clusters: who was told apart without labels; None where labels were given.
    """

    score_map: ScoreMap
    cohort: Cohort
    check: PlantedCheck | None
    unusable: Mapping[str, str] = field(default_factory=dict)
    clusters: Clusters | None = field(default=None, compare=False)


def general_map(encoder: Encoder) -> ScoreMap:
    """The map of a model that can be adapted.

    Raises:
        CheckpointError: it carries none, or one that was adapted before.
    """
    name, carried = printable(encoder.identity.name), encoder.score_map
    if carried is None:
        raise CheckpointError(
            f"model '{name}' carries no score map to adapt; give it one with 'sound-groove calibrate'"
        )
    if carried.adapted_to is not None:
        raise CheckpointError(f"model '{name}' was adapted before; adapt the model that it was made of")
    return carried


def adapt_map(
    general: ScoreMap, material: DomainMaterial, speakers: Mapping[str, str] | None = None, seed: int = 0
) -> Adapted:
    """Adapt a map to what was heard of a domain.

    Args:
        general: the map.
        material: what was heard.
        speakers: the speakers of some of the recordings, by path.
        seed: of the pairs.

    Raises:
        TrialError: there are too few recordings, or too few people in them; nothing can be told of the domain then.
    """
    if len(material.paths) < FEWEST_RECORDINGS:
        raise TrialError(too_few(len(material.paths)))
    known = speakers or {}
    codes = np.unique(["", *known.values()], return_inverse=True)[1][1:]
    numbers = dict(zip(known, codes.tolist(), strict=True))
    own = np.array([numbers.get(path, -1) for path in material.paths])
    cohort = cohort_in(general, material, seed)
    if cohort.people < FEWEST_PEOPLE and not known:
        raise TrialError(
            f"about {cohort.people:.1f} people were found in {len(material.paths)} recordings, and at least "
            f"{FEWEST_PEOPLE:.0f} are needed: what few people sound like says nothing of others, or all sound alike to "
            "the model here; the calibration is left as it is: give recordings of more people, or labels (--labels)"
        )
    moved, people, clusters = _learnt(general, material, own if known else None, cohort, seed)
    labelled = int((own >= 0).sum())
    domain = Domain(
        len(own),
        people,
        labelled,
        cohort.middle,
        cohort.deviation,
        moved.scale,
        moved.shift,
        moved.weight,
        clusters.count if clusters is not None and clusters.weight > 0 else 0,
    )
    adapted = replace(
        general.moved(domain),
        baseline=domain_baseline(general, material),
        speakers=tuple(
            sorted({*general.speakers, *speaker_digests(known[path] for path in material.paths if path in known)})
        ),
    )
    return Adapted(adapted, cohort, planted_check(general, adapted, material, seed), material.unusable, clusters)


def _learnt(
    general: ScoreMap, material: DomainMaterial, own: Rows | None, cohort: Cohort, seed: int
) -> tuple[Moved, int, Clusters | None]:
    """The change of llrs, how many people it was learnt from, and, without labels, who was told apart.

    Args:
        general: the map.
        material: what was heard.
        own: (R,) the speaker of each recording, -1 where there is no label; None where no labels were given.
        cohort: of the recordings.
        seed: of the pairs.
    """
    versions, start = material.versions, by_cohort(cohort)
    if own is not None:
        pairs, people = labelled_pairs(versions, own[versions.names], seed), len(np.unique(own[own >= 0]))
        return with_labels(general, versions, pairs, people, start), people, None
    clusters = clusters_in(general, material, cohort)
    rows = material.unchanged
    if len(material.changed):
        rows = np.flatnonzero(np.isin(versions.names, material.changed))
    drawn = random_pairs(versions.names, rows, np.random.default_rng(seed))
    pairs = clustered_pairs(drawn, clusters.labels[versions.names])
    return with_clusters(general, versions, pairs, clusters, start), round(cohort.people), clusters


def by_cohort(cohort: Cohort) -> Moved:
    """The change that a cohort asks for; none where there are too few people for one."""
    return moved_by_cohort(cohort) if cohort.people >= FEWEST_PEOPLE else Moved()


def domain_baseline(general: ScoreMap, material: DomainMaterial) -> Baseline | None:
    """What the recordings of a domain are like, by which it is seen whether others are; None where they are too few.

    Nothing is told of the evidence, since nobody says which pairs are of one person, and nothing of how much speech
    there is where more than a few recordings were heard in part.
    """
    rows = material.rows(WHOLE)
    known = {name: values[rows] for name, values in material.versions.known(general).items()}
    if material.shortened > MOST_SHORTENED * len(rows):
        del known["speech_s"]
    baseline = Baseline.of(known, len(rows))
    return baseline if baseline.quantities else None


def cohort_in(general: ScoreMap, material: DomainMaterial, seed: int) -> Cohort:
    """The cohort of a domain."""
    whole = np.flatnonzero(material.versions.kinds == WHOLE)
    return seen_cohort(general, material.versions, material.unchanged, whole, seed)


def clusters_in(general: ScoreMap, material: DomainMaterial, cohort: Cohort) -> Clusters:
    """Who is told apart among the recordings of a domain."""
    return seen_clusters(general, material.versions, material.rows(WHOLE), cohort)


def seen_clusters(general: ScoreMap, versions: Versions, whole: Rows, cohort: Cohort) -> Clusters:
    """Who is told apart by versions that are whole recordings, one of each (R,)."""
    first, second = pairs_of(len(whole))
    pairs = Pairs(whole[first], whole[second], np.zeros(len(first), np.bool_))
    moved = by_cohort(cohort)
    return find_clusters(moved.scale * raw_llrs(general, versions, pairs)[0] + moved.shift, len(whole), cohort.people)


def seen_cohort(general: ScoreMap, versions: Versions, rows: Rows, whole: Rows, seed: int) -> Cohort:
    """The cohort, by random pairs of versions in `rows`, and of those in `whole` for the number of people."""
    rng = np.random.default_rng(seed)
    llrs = raw_llrs(general, versions, random_pairs(versions.names, rows, rng))[0]
    alike, left = raw_llrs(general, versions, random_pairs(versions.names, whole, rng))
    if not len(alike):
        raise TrialError("the recordings are the same one, so that no two of them can be compared")
    bounds = general.bounds or (-10.0, 10.0)
    seen = cohort_of(llrs, np.clip(left * alike, *bounds))
    # Where strangers score high, they pass for one person: they are counted again once that is taken back.
    moved = moved_by_cohort(replace(seen, people=max(seen.people, ASSUMED_PEOPLE)))
    people = people_in(np.clip(left * (moved.scale * alike + moved.shift), *bounds))
    return replace(seen, people=min(people, float(len(np.unique(versions.names[whole])))))


def random_pairs(names: Rows, rows: Rows, rng: np.random.Generator) -> Pairs:
    """Pairs of rows of different names; all of them, or PAIRS drawn ones where there are more."""
    if len(rows) * (len(rows) - 1) // 2 <= PAIRS:
        first, second = np.triu_indices(len(rows), 1)
    else:
        first, second = rng.integers(len(rows), size=(2, PAIRS))
    kept = names[rows[first]] != names[rows[second]]
    first, second = rows[first][kept], rows[second][kept]
    return Pairs(first, second, np.zeros(len(first), np.bool_))


def labelled_pairs(versions: Versions, speakers: Rows, seed: int) -> Pairs:
    """Pairs of versions of different recordings with labels.

    Args:
        versions: of the recordings.
        speakers: (V,) of them; -1 where there is no label.
        seed: of the draw.

    Raises:
        TrialError: too few speakers, or none with two recordings.
    """
    count = len(np.unique(speakers[speakers >= 0]))
    pairs = random_pairs(versions.names, np.flatnonzero(speakers >= 0), np.random.default_rng(seed))
    labels = speakers[pairs.first] == speakers[pairs.second]
    if count < FEWEST_LABELLED or not labels.any():
        raise TrialError(
            f"labels of at least {FEWEST_LABELLED} speakers are needed, one of them with two recordings; {count} "
            f"speakers are labelled{'' if labels.any() else ', with one usable recording each'}"
        )
    return Pairs(pairs.first, pairs.second, labels)


def with_clusters(general: ScoreMap, versions: Versions, pairs: Pairs, clusters: Clusters, start: Moved) -> Moved:
    """The change that pairs labelled by clusters ask for, beyond that which the cohort asked for.

    Args:
        general: the map.
        versions: of recordings.
        pairs: of these versions; see `domain_clusters.clustered_pairs`.
        clusters: whence their labels are.
        start: what the cohort asked for, which stays where the clusters are not sure enough.
    """
    if clusters.weight == 0 or not pairs.labels.any() or pairs.labels.all():
        return start
    try:
        return with_labels(general, versions, pairs, clusters.count, start, COUNTED * clusters.weight)
    except MetricError:  # llrs are no higher within clusters than between them
        return start


def with_labels(
    general: ScoreMap, versions: Versions, pairs: Pairs, speakers: int, start: Moved, counted: float = COUNTED
) -> Moved:
    """The change that labelled pairs ask for, beyond that which the cohort asked for.

    Raises:
        MetricError: scores are no higher for one speaker than for two.
    """
    llrs, left = raw_llrs(general, versions, pairs)
    more = moved_by_labels(start.scale * llrs + start.shift, pairs.labels, speakers, left, counted)
    scale, shift = more.scale * start.scale, more.scale * start.shift + more.shift
    return Moved(scale, shift, more.weight + (1 - more.weight) * start.weight)


def raw_llrs(score_map: ScoreMap, versions: Versions, pairs: Pairs) -> tuple[Scores, Scores]:
    """(P,) llrs before a map's bounds and fading, and (P,) what part the fading leaves."""
    measures = versions.measures(pairs.first, pairs.second, score_map)
    free = replace(score_map, bounds=None, familiar_up_to=None)
    left = np.broadcast_to(score_map.evidence_left(measures), pairs.first.shape)
    return free.llr(versions.scores(pairs.first, pairs.second), measures), left


def planted_check(before: ScoreMap, after: ScoreMap, material: DomainMaterial, seed: int) -> PlantedCheck | None:
    """Verdicts of planted pairs and of others under two maps; None where there are too few."""
    first, second = material.planted
    if len(first) < FEWEST_PLANTED:
        return None
    planted = Pairs(first, second, np.ones(len(first), np.bool_))
    others = random_pairs(material.versions.names, np.concatenate((first, second)), np.random.default_rng(seed))
    low, high = DecisionRule().limits(0.5)

    def shares(score_map: ScoreMap) -> dict[str, float]:
        found = {}
        for name, pairs in (("planted", planted), ("others", others)):
            scores = material.versions.scores(pairs.first, pairs.second)
            llrs = score_map.llr(scores, material.versions.measures(pairs.first, pairs.second, score_map))
            found[f"{name}_same"], found[f"{name}_different"] = float((llrs >= high).mean()), float((llrs < low).mean())
        return found

    return PlantedCheck(len(first), len(others.first), shares(before), shares(after))


def too_few(count: int) -> str:
    """What is said of so few recordings."""
    return (
        f"{count} recordings can be used, and {FEWEST_RECORDINGS} at least are needed to adapt to; the calibration is "
        "left as it is"
    )
