"""Who of N is speaking, or nobody: wrong names, misses and the worth of the probabilities as N grows, on real speech.

    python benchmarks/identification.py CORPUS [--model pretrained] [--held-out] [--out outputs/identification]

CORPUS is the development corpus. The speakers of val/, whom the model never heard, are enrolled with up to three pieces
of 5 s or more as they are, and tested with others of their pieces (in wuw2, of other calls), cut to 1, 2 and 5 s, as
they are and in noise or babble at 0 to 20 dB. Each test is asked twice of galleries drawn at random: with its speaker
among the N, and without, which makes it a stranger's. Where N is more than there are such speakers, training speakers
fill the gallery; they are never tested. With `--held-out` the speakers who calibrated the model take the place of those
of val/: on them the settings of `sound_groove.scoring.open_set` were chosen.

    none       llrs by the model's score map alone
    gallery    the same with the others of the gallery as the cohort, which is what `identify` does
    as-norm    AS-norm by the 300 nearest of the training speakers, and a score map of such scores, fitted on the
               speakers who calibrated the model; 'unseen': none of the test's own collection is in the cohort

Names are given at odds of four to one (the default costs) and a prior of one half that the speaker is enrolled. `R` is
the share of strangers who are named where at most that share may be. Cllr is of 'somebody enrolled' against 'nobody',
and `bits` the cost of the probabilities of all N + 1 answers as a share of what knowing nothing costs.
"""

import argparse
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from identified_voices import Versions, embedded
from numpy.typing import NDArray
from verdicts import DIFFERENT_CALLS, Piece, joined, read_rows

from sound_groove.audio.listening import MINIMUM_SPEECH_S
from sound_groove.comparison import DEFAULT_PRIOR, DEFAULT_RULE
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.evaluation.versions import conditions
from sound_groove.networks.trained_speakers import speaker_digest
from sound_groove.provenance import machine
from sound_groove.scoring.as_norm import as_norm, cohort_statistics
from sound_groove.scoring.calibration import ScoreMap, logit
from sound_groove.scoring.decision import DecisionRule
from sound_groove.scoring.map_regression import fit_score_map
from sound_groove.scoring.measures import UNFAMILIARITY, trial_measures
from sound_groove.scoring.metrics import cllr, min_cllr
from sound_groove.scoring.open_set import OpenSetAnswer, answer
from sound_groove.types import Embeddings, Scores
from sound_groove.voiceprints.gallery import COHORT
from sound_groove.voiceprints.identification import WEIGHED

NUMBERS = (1, 5, 20, 60, 300, 1000)
PIECE_S, FILLER_S = 5.0, 10.0
LENGTHS_S = (1.0, 2.0, 5.0)
CONDITIONS = tuple(one for one in conditions(LENGTHS_S) if one.kind in ("as it is", "noisy"))
WHOLE = next(index for index, one in enumerate(CONDITIONS) if one.duration_s is None and one.kind == "as it is")
MOST_ENROLLED = 3  # pieces
PROMISES = (0.1, 0.01)
SEED = 0


@dataclass(frozen=True)
class Voices:
    """Speakers who are enrolled, E of them, and tests of some of them, T.

    Attributes:
        means: (E, D) of the enrolled embeddings, whose inner product with another is the mean cosine.
        enrolment: `speech_s`, `snr_db` and `embedding_norm` (E,) of them.
        collections: (E,) where each is from.
        tests: (T, D).
        test: the same and `unfamiliarity` (T,).
        speakers: (T,) which of the enrolled it is.
        conditions: (T,) indices of CONDITIONS.
    """

    means: Embeddings
    enrolment: dict[str, Scores]
    collections: NDArray[np.str_]
    tests: Embeddings
    test: dict[str, Scores]
    speakers: NDArray[np.int64]
    conditions: NDArray[np.int64]

    def measures(self, other: "Voices | None" = None, score_map: ScoreMap | None = None) -> dict[str, Scores]:
        """Of each test with each of the enrolled (T, E), or of another's enrolled; those that are known of all."""
        enrolled = self if other is None else other
        sides = [dict(self.test), dict(enrolled.enrolment)]
        for side, embeddings in zip(sides, (self.tests, enrolled.means), strict=True):
            if score_map is not None:
                side["closeness"] = score_map.closeness(embeddings)
        found = trial_measures(
            {name: values[:, None] for name, values in sides[0].items()},
            {name: values[None, :] for name, values in sides[1].items()},
        )
        return {name: values for name, values in found.items() if name == UNFAMILIARITY or np.isfinite(values).all()}


def main() -> None:
    """Embed what is missing, measure, print tables in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--model", default="pretrained")
    parser.add_argument("--held-out", action="store_true", help="the speakers of the calibration instead of val/")
    parser.add_argument("--draws", type=int, default=3, help="of a gallery, for each test and N")
    parser.add_argument("--out", type=Path, default=Path("outputs/identification"), help="where embeddings are kept")
    arguments = parser.parse_args()
    encoder = SpeakerEncoder.load(arguments.model, threads=1)
    assert encoder.score_map is not None
    cache = arguments.out / encoder.identity.hash[:12]
    calibrating = frozenset(encoder.score_map.speakers)
    train = read_rows(arguments.corpus, lambda row: row["split"] == "train")
    held_out = [row for row in train if speaker_digest(row["speaker"]) in calibrating]
    first: dict[str, Piece] = {}
    for piece in joined((row for row in train if speaker_digest(row["speaker"]) not in calibrating), FILLER_S):
        first.setdefault(piece.speaker, piece)
    pieces = list(first.values())
    fillers = voices_of(pieces, embedded(encoder, pieces, CONDITIONS[WHOLE : WHOLE + 1], cache / "fillers.npz"), 0)
    pieces = joined(held_out, PIECE_S)
    calibration = voices_of(pieces, embedded(encoder, pieces, CONDITIONS, cache / "held-out.npz"), WHOLE)
    pieces = joined(read_rows(arguments.corpus, lambda row: row["split"] == "val"), PIECE_S)
    judged = voices_of(pieces, embedded(encoder, pieces, CONDITIONS, cache / "judged.npz"), WHOLE)
    voices = calibration if arguments.held_out else judged
    print(f"model {encoder.identity.label}, {machine(threads=1)}")
    print(
        f"{len(voices.means)} speakers, {len(voices.tests):,} tests of {len(set(voices.speakers.tolist()))} of them\n"
    )

    own, theirs = llrs_of(encoder.score_map, voices), llrs_of(encoder.score_map, voices, fillers)
    print(f"| N | cohort | tests | {' | '.join(COLUMNS)} |\n" + "| --- " * 3 + "| --: " * len(COLUMNS) + "|")
    groups = {"all": np.ones(len(voices.tests), dtype=np.bool_)}
    noisy = np.array([condition.kind == "noisy" for condition in CONDITIONS])[voices.conditions]
    longest = np.array([condition.duration_s == max(LENGTHS_S) for condition in CONDITIONS])[voices.conditions]
    groups |= {"5 s, as they are": longest & ~noisy, "5 s, noisy": longest & noisy}
    for count in NUMBERS:
        for name, mask in groups.items():
            for cohort in ("none", "gallery"):
                row = measured(own, theirs, voices.speakers, mask, count, arguments.draws, cohort == "gallery")
                print(f"| {count:,} | {cohort} | {name} | {row} |", flush=True)
        if count <= len(voices.means) - 1 and not arguments.held_out:
            for unseen in (False, True):
                normalised = as_normalised(calibration, voices, fillers, unseen)
                row = measured(normalised, theirs, voices.speakers, groups["all"], count, arguments.draws, False)
                print(f"| {count:,} | as-norm{', unseen' * unseen} | all | {row} |", flush=True)


COLUMNS = (
    "strangers named", *(f"at R = {promise:.0%}" for promise in PROMISES), "enrolled: named", "another's name",
    "told 'nobody'", "Cllr", "min Cllr", "bits",
)  # fmt: skip


def voices_of(pieces: Sequence[Piece], versions: Versions, whole: int) -> Voices:
    """Divide the pieces of each speaker into enrolled and tested ones; `whole` is the condition of the former."""
    place = {piece: row for row, piece in enumerate(versions.pieces.tolist()) if versions.conditions[row] == whole}
    own: dict[str, list[int]] = defaultdict(list)
    for index, piece in enumerate(pieces):
        own[piece.speaker].append(index)
    means: list[Embeddings] = []
    speech_s: list[float] = []
    snr_db: list[float] = []
    norms: list[float] = []
    collections: list[str] = []
    tested: dict[int, int] = {}
    for indices in own.values():
        if pieces[indices[0]].collection in DIFFERENT_CALLS:
            enrolled = [index for index in indices if pieces[index].session == pieces[indices[0]].session]
        else:
            enrolled = indices[: max(1, len(indices) // 2)]
        rows = [place[index] for index in enrolled[:MOST_ENROLLED]]
        tested |= {index: len(means) for index in indices if index not in enrolled}
        means.append(versions.embeddings[rows].mean(axis=0))
        speech_s.append(versions.speech_s[rows].sum())
        snr_db.append(versions.snr_db[rows].mean())
        norms.append(versions.norms[rows].mean())
        collections.append(pieces[indices[0]].collection)
    cut = np.array([condition.duration_s is not None for condition in CONDITIONS])
    kept = [
        row
        for row, index in enumerate(versions.pieces.tolist())
        if index in tested and cut[versions.conditions[row]] and versions.speech_s[row] >= MINIMUM_SPEECH_S
    ]
    return Voices(
        np.array(means),
        {
            "speech_s": np.array(speech_s),
            "snr_db": np.array(snr_db),
            "embedding_norm": np.array(norms),
            "unfamiliarity": np.full(len(norms), np.nan),  # not kept of what is enrolled
        },
        np.array(collections),
        versions.embeddings[kept],
        {
            "speech_s": versions.speech_s[kept],
            "snr_db": versions.snr_db[kept],
            "embedding_norm": versions.norms[kept],
            "unfamiliarity": versions.unfamiliarity[kept],
        },
        np.array([tested[index] for index in versions.pieces[kept].tolist()]),
        versions.conditions[kept],
    )


def llrs_of(score_map: ScoreMap, voices: Voices, other: Voices | None = None) -> Scores:
    """Of each test with each of the enrolled (T, E), or with another's enrolled."""
    means = voices.means if other is None else other.means
    return score_map.llr(
        voices.tests.astype(np.float64) @ means.astype(np.float64).T, voices.measures(other, score_map)
    )


def as_normalised(calibration: Voices, voices: Voices, cohort: Voices, unseen: bool) -> Scores:
    """The llrs (T, E) of AS-norm, by a map that was fitted on pairs within the collections of the calibration."""
    scores = _as_norm(calibration, cohort, unseen=False)
    within = calibration.collections[calibration.speakers][:, None] == calibration.collections[None, :]
    labels = calibration.speakers[:, None] == np.arange(len(calibration.means))[None, :]
    measures = {name: values[within] for name, values in calibration.measures().items()}
    score_map = fit_score_map(scores[within], labels[within], "AS-norm", measures=measures)
    return score_map.llr(_as_norm(voices, cohort, unseen), voices.measures())


def _as_norm(voices: Voices, cohort: Voices, unseen: bool) -> Scores:
    """Scores (T, E) by the cohort, without those of each speaker's own collection where these are to be unseen."""
    enrolled = voices.means / np.linalg.norm(voices.means, axis=1, keepdims=True)
    sides = np.concatenate((voices.tests, enrolled)).astype(np.float32)
    where = np.concatenate((voices.collections[voices.speakers], voices.collections))
    tests, everybody = np.arange(len(voices.tests)), np.arange(len(enrolled)) + len(voices.tests)
    pairs = [side.ravel() for side in np.meshgrid(tests, everybody, indexing="ij")]
    cosines = (voices.tests.astype(np.float64) @ voices.means.astype(np.float64).T).ravel()
    normalised = np.empty(cosines.shape)
    for name in np.unique(where):
        told = cohort_statistics(sides, cohort.means[cohort.collections != name] if unseen else cohort.means)
        mine = where[pairs[0]] == name
        normalised[mine] = as_norm(cosines[mine], pairs[1][mine], pairs[0][mine], told)
    return normalised.reshape(len(tests), len(everybody))


def measured(
    own: Scores,
    theirs: Scores,
    speakers: NDArray[np.int64],
    mask: NDArray[np.bool_],
    count: int,
    draws: int,
    by_gallery: bool,
) -> str:
    """The figures of a row of the table.

    Args:
        own: (T, E) llrs of the tests with those who may be enrolled.
        theirs: (T, F) with those who fill the gallery.
        speakers: (T,) who speaks.
        mask: (T,) which tests.
        count: N.
        draws: galleries for each test.
        by_gallery: the gallery is the cohort.
    """
    rng = np.random.default_rng((SEED, count))
    strangers: list[Told] = []
    enrolled: list[Told] = []
    for test in np.flatnonzero(mask):
        for _ in range(draws):
            order = rng.permutation(np.delete(np.arange(own.shape[1]), speakers[test]))
            others = own[test, order[:count]]
            filling = rng.permutation(theirs.shape[1])[: max(0, count - len(others))]
            others = np.append(others, theirs[test, filling])
            strangers.append(Told.of(others, by_gallery))
            enrolled.append(Told.of(np.append(own[test, speakers[test]], others[: count - 1]), by_gallery))
    named = np.array([told.named for told in enrolled])
    right = np.array([told.best == 0 for told in enrolled])
    any_llrs = np.array([told.any_llr for told in (*enrolled, *strangers)])
    labels = np.arange(len(any_llrs)) < len(enrolled)
    bits = np.mean([-math.log2(max(told.first, 1e-12)) for told in enrolled])
    bits += np.mean([-math.log2(max(told.nobody, 1e-12)) for told in strangers])
    shares = [
        np.mean([told.named for told in strangers]),
        *(np.mean([told.promised[index] for told in strangers]) for index in range(len(PROMISES))),
        (named & right).mean(),
        (named & ~right).mean(),
        np.mean([told.refused for told in enrolled]),
    ]
    figures = (cllr(any_llrs, labels), min_cllr(any_llrs, labels), bits / (math.log2(2 * count) + 1))
    return " | ".join([*(f"{share:.1%}" for share in shares), *(f"{figure:.3f}" for figure in figures)])


@dataclass(frozen=True)
class Told:
    """What is kept of an answer: of the first of the enrolled, of nobody, of somebody, and who was named."""

    first: float
    nobody: float
    any_llr: float
    best: int
    named: bool
    refused: bool
    promised: tuple[bool, ...]

    @classmethod
    def of(cls, llrs: Scores, by_gallery: bool) -> "Told":
        """The answer of `identify`, which weighs the nearest and takes others as the cohort, drawn at random."""
        order = np.argsort(-llrs)[:WEIGHED]
        cohort: Scores | None = np.empty(0) if not by_gallery else None
        if by_gallery and len(llrs) > WEIGHED:
            drawn = np.random.default_rng(len(llrs)).permutation(len(llrs))[:COHORT]
            cohort = llrs[drawn[drawn != order[0]]]

        def under(rule: DecisionRule) -> OpenSetAnswer:
            return answer(llrs[order], len(llrs), DEFAULT_PRIOR, rule, cohort, float(llrs[order[-1]]))

        plain = under(DEFAULT_RULE)
        place = np.flatnonzero(order == 0)
        return cls(
            first=float(plain.probabilities[place[0]]) if len(place) else plain.rest / max(1, len(llrs) - WEIGHED),
            nobody=plain.nobody,
            any_llr=logit(min(max(1 - plain.nobody, 1e-12), 1 - 1e-12)) - logit(DEFAULT_PRIOR),
            best=int(order[0]),
            named=plain.verdict == "identified",
            refused=plain.verdict == "nobody",
            promised=tuple(under(DecisionRule(max_false_accept=rate)).verdict == "identified" for rate in PROMISES),
        )


if __name__ == "__main__":
    main()
