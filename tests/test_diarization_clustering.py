"""Clusters of made-up embeddings: average linkage, spectrum, VBx, and how many speakers there are."""

from itertools import pairwise

import numpy as np
import pytest

from sound_groove.diarization import clustering
from sound_groove.diarization.agglomeration import agglomerate, centroids, numbered
from sound_groove.diarization.clustering import SpeakerCount, cluster, fitted, least_size, without_small
from sound_groove.diarization.spectral import cluster_by_spectrum, k_means, laplacian
from sound_groove.diarization.vbx import Vbx, forward_backward
from sound_groove.errors import UsageError
from sound_groove.types import Embeddings


def voices(sizes: list[int], seed: int = 0, noise: float = 0.7, size: int = 64) -> tuple[Embeddings, np.ndarray]:
    """Unit embeddings around a centre for each speaker, in the order of the speakers, and who they are of."""
    draws = np.random.default_rng(seed)
    centres = draws.standard_normal((len(sizes), size))
    labels = np.repeat(np.arange(len(sizes)), sizes)
    rows = centres[labels] + noise * draws.standard_normal((len(labels), size))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), labels


def mixed(embeddings: Embeddings, labels: np.ndarray, seed: int = 0) -> tuple[Embeddings, np.ndarray]:
    """The same in another order."""
    order = np.random.default_rng(seed).permutation(len(labels))
    return embeddings[order], labels[order]


def are_alike(found: np.ndarray, labels: np.ndarray) -> bool:
    return len(set(zip(found.tolist(), labels.tolist(), strict=True))) == len(set(found)) == len(set(labels))


def test_average_linkage_is_scipy_s() -> None:
    hierarchy = pytest.importorskip("scipy.cluster.hierarchy")
    embeddings, _ = voices([20, 30, 15, 2], noise=2.0)
    found = agglomerate(embeddings)
    linkage = hierarchy.linkage(embeddings.astype(np.float64), "average", metric="cosine")
    assert 1 - found.similarities == pytest.approx(linkage[:, 2], abs=1e-6)
    for similarity in (0.1, 0.2, 0.3):
        expected = hierarchy.fcluster(linkage, 1 - similarity, "distance")
        assert are_alike(found.labels(found.until(similarity)), expected)


def test_clusters_go_on_by_their_means_as_their_members_would() -> None:
    embeddings, _ = voices([10, 12, 8, 5], noise=1.5)
    whole = agglomerate(embeddings)
    steps = 20
    parts = whole.labels(steps)
    rest = agglomerate(centroids(embeddings, parts), np.bincount(parts))
    assert rest.similarities == pytest.approx(whole.similarities[steps:], abs=1e-9)
    assert are_alike(rest.labels(3)[parts], whole.labels(steps + 3))


def test_one_item_is_one_cluster() -> None:
    found = agglomerate([[1.0, 0.0]])
    assert (found.until(0.5), found.labels(0).tolist()) == (0, [0])


@pytest.mark.parametrize("at_once", [10_000, 25])
def test_speakers_are_found_in_one_piece_and_in_parts(at_once: int) -> None:
    embeddings, labels = mixed(*voices([30, 20, 40]))
    found = cluster(embeddings, 0.25, at_once=at_once)
    assert are_alike(found, labels)
    assert found[0] == 0  # in the order of their first words


def test_what_is_compared_at_a_time_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    embeddings, labels = mixed(*voices([400, 300, 300]))
    sizes = list[int]()

    def counted(vectors: np.ndarray, *others: np.ndarray) -> object:
        sizes.append(len(vectors))
        return agglomerate(vectors, *others)

    monkeypatch.setattr(clustering, "agglomerate", counted)
    assert are_alike(cluster(embeddings, 0.25, at_once=100), labels)
    assert len(sizes) == 11 and max(sizes) <= 10 * clustering.MOST_CLUSTERS


def test_the_number_that_is_told_comes_before_the_similarity() -> None:
    embeddings, labels = mixed(*voices([30, 20, 40]))
    assert are_alike(cluster(embeddings, 0.99, SpeakerCount(3, 3)), labels)
    assert are_alike(cluster(embeddings, -1.0, SpeakerCount(3, 3)), labels)
    assert cluster(embeddings, 0.3, SpeakerCount(most=2)).max() == 1
    assert cluster(embeddings, -1.0, SpeakerCount(fewest=2)).max() == 1
    assert cluster(embeddings, -1.0).max() == 0
    assert cluster(embeddings[:2], 0.3, SpeakerCount(5, 5)).max() == 1  # as many as there are windows


def test_a_few_windows_are_nobody_but_where_there_is_nobody_else() -> None:
    embeddings, labels = voices([40, 30, 1])
    found = cluster(embeddings, 0.25)
    assert are_alike(found[:70], labels[:70]) and found.max() == 1
    assert cluster(embeddings[-1:], 0.25).tolist() == [0]
    three = cluster(embeddings, 0.25, SpeakerCount(3, 3))  # a voice that was heard once is none of them even then
    assert np.bincount(three).min() >= least_size(71)
    assert (least_size(1), least_size(8), least_size(16), least_size(1000)) == (1, 2, 4, 10)
    assert without_small(embeddings, labels, 4, 1).tolist() == found.tolist()


def test_ten_people_are_ten() -> None:
    embeddings, labels = mixed(*voices([20] * 10))
    assert are_alike(cluster(embeddings, 0.25), labels)
    assert are_alike(cluster_by_spectrum(embeddings), labels)


def test_too_many_are_joined_and_too_few_are_found_anew() -> None:
    embeddings, labels = voices([30, 20, 40])
    halves = numbered(labels * 2 + np.arange(len(labels)) % 2)
    assert are_alike(fitted(embeddings, halves, SpeakerCount(most=3)), labels)
    assert are_alike(fitted(embeddings, np.zeros(90, np.intp), SpeakerCount(3, 3)), labels)
    assert fitted(embeddings, labels, SpeakerCount()) is labels


@pytest.mark.parametrize(("fewest", "most"), [(0, None), (2, 1), (1, 0), (-1, 3)])
def test_numbers_that_no_recording_has_are_refused(fewest: int, most: int | None) -> None:
    with pytest.raises(UsageError, match="speakers"):
        SpeakerCount(fewest, most)


# Spectral clustering.


def test_the_eigengap_tells_how_many_there_are() -> None:
    for sizes in ([30, 30], [30, 20, 40], [15, 20, 25, 30, 20]):
        embeddings, labels = mixed(*voices(sizes))
        assert are_alike(cluster_by_spectrum(embeddings), labels)
        assert are_alike(cluster_by_spectrum(embeddings, at_once=40), labels)
    assert cluster_by_spectrum(embeddings, SpeakerCount(2, 2)).max() == 1
    assert cluster_by_spectrum(embeddings[:1]).tolist() == [0]
    assert cluster_by_spectrum(embeddings[:2], SpeakerCount(2, 2)).tolist() == [0, 1]


def test_the_laplacian_has_an_eigenvalue_of_0_for_each_part_that_nothing_binds_to_another() -> None:
    embeddings = np.repeat(np.eye(3), 12, axis=0)
    values = np.linalg.eigvalsh(laplacian(embeddings))
    assert np.count_nonzero(np.abs(values) < 1e-9) == 3


def test_k_means_by_hand() -> None:
    points = np.array([[0.0], [0.2], [5.0], [5.2], [9.0]])
    assert numbered(k_means(points, 3)).tolist() == [0, 0, 1, 1, 2]


# VBx.


def test_forward_and_backward_are_the_sum_over_all_paths() -> None:
    draws = np.random.default_rng(0)
    evidence, shares, staying = draws.standard_normal((4, 3)), np.array([0.5, 0.3, 0.2]), 0.7
    paths = np.array(np.meshgrid(*[range(3)] * 4, indexing="ij")).reshape(4, -1).T
    move = staying * np.eye(3) + (1 - staying) * shares
    weights = np.array(
        [
            shares[path[0]] * np.exp(evidence[range(4), path].sum()) * np.prod([move[a, b] for a, b in pairwise(path)])
            for path in paths
        ]
    )
    total, gamma, entered = forward_backward(evidence, shares, staying)
    assert total == pytest.approx(np.log(weights.sum()))
    for place in range(4):
        expected = [weights[paths[:, place] == state].sum() / weights.sum() for state in range(3)]
        assert gamma[place] == pytest.approx(expected)
    chosen = (1 - staying) * shares / move[paths[:, :-1], paths[:, 1:]][..., None]
    is_state = paths[:, 1:, None] == np.arange(3)
    assert entered == pytest.approx((weights[:, None, None] * chosen * is_state).sum(axis=(0, 1)) / weights.sum())


def test_vbx_joins_what_was_cut_and_moves_what_was_misplaced() -> None:
    embeddings, labels = voices([60, 50, 70], noise=0.9)
    cut = numbered(labels * 2 + (np.arange(len(labels)) % 2))
    assert are_alike(Vbx().refine(embeddings, cut), labels)
    misplaced = labels.copy()
    misplaced[[3, 70, 150]] = [2, 0, 1]
    assert are_alike(Vbx().refine(embeddings, misplaced), labels)
    alone = np.zeros(60, np.intp)
    assert Vbx().refine(embeddings[:60], alone) is alone


def test_the_bound_of_vbx_makes_it_end_with_probabilities() -> None:
    embeddings, labels = voices([20, 20])
    gamma = np.eye(2)[labels] * 0.8 + 0.1
    found = Vbx().posteriors(embeddings.astype(np.float64) * 8, np.full(64, 1.0), gamma)
    assert found.sum(axis=1) == pytest.approx(np.ones(40))
    assert (found.argmax(axis=1) == labels).all()
