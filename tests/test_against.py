"""Two systems on the same trials: what is read, what is matched, and differences worked by hand."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from sound_groove.cli import main
from sound_groove.errors import TrialError
from sound_groove.evaluation.against import compare, describe_comparison
from sound_groove.evaluation.judged import JudgedList
from sound_groove.evaluation.other_scores import OtherScores, read_other_scores
from sound_groove.evaluation.results import write_scores
from sound_groove.evaluation.trials.trial_list import TrialList, read_trials
from sound_groove.scoring.metrics import cllr, eer, min_dcf

pytestmark = pytest.mark.usefixtures("undrawn")

LIST = "a1 a2 target\na1 b1 nontarget\na2 b1 nontarget\nb1 b2 target\n"
PLAIN = "a1 a2 0.9\na1 b1 0.1\na2 b1 0.2\nb1 b2 0.8\n"


def trial_list(folder: Path, text: str = LIST) -> TrialList:
    (folder / "trials.txt").write_text(text)
    return read_trials(folder / "trials.txt")[0]


def read(folder: Path, text: str | bytes, trials: TrialList | None = None, allow_missing: bool = False) -> OtherScores:
    path = folder / "other.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_other_scores(path, trial_list(folder) if trials is None else trials, allow_missing)


def by_hand(scores: list[float], llrs: list[float] | None = None) -> OtherScores:
    ratios = None if llrs is None else np.array(llrs)
    return OtherScores(Path("other.txt"), "0" * 64, np.array(scores), ratios, np.zeros(len(scores), dtype=bool), ())


def random_trials(seed: int, speakers: int = 6, trials: int = 200) -> tuple[TrialList, np.ndarray, np.ndarray]:
    """Trials of as many names as speakers, and the scores of two systems."""
    rng = np.random.default_rng(seed)
    first, second = rng.integers(0, speakers, (2, trials)).astype(np.int32)
    labels = first == second
    names = tuple(f"name-{number}" for number in range(speakers))
    lines = np.arange(1, trials + 1, dtype=np.int32)
    scores = rng.normal(size=trials) + labels
    return TrialList(names, first, second, labels, lines, 0), scores, scores + rng.normal(0, 0.7, trials)


# --- differences


def test_a_system_differs_from_itself_by_exactly_nothing() -> None:
    trials, scores, _ = random_trials(0)
    against = compare(JudgedList(trials, scores, 2 * scores, np.arange(6), 50), by_hand(list(scores), list(2 * scores)))
    nothing = {"value": 0.0, "low": 0.0, "high": 0.0}
    assert list(against["figures"]) == ["eer", "min_dcf", "min_dcf_05", "cllr"]
    assert all(figure["difference"] == nothing for figure in against["figures"].values())
    assert all("which these speakers cannot tell apart" in line for line in describe_comparison(against)[1:])


def test_one_swapped_trial_by_hand() -> None:
    # Two speakers, with two targets each and four trials between them. The other system ranks the worst target below
    # the best nontarget: at the threshold between them both rates are 1/4. Rejecting that one target costs 1/4 of p.
    # Draws in which one speaker stands for both have no nontargets, so that each draw that counts is the list itself.
    sides = np.array([[0, 0, 1, 1, 0, 0, 0, 0], [0, 0, 1, 1, 1, 1, 1, 1]], dtype=np.int32)
    trials = TrialList(("a", "b"), sides[0], sides[1], sides[0] == sides[1], np.arange(1, 9, dtype=np.int32), 0)
    this, other = [8.0, 7, 6, 5, 4, 3, 2, 1], [8.0, 7, 6, 4, 5, 3, 2, 1]
    figures = compare(JudgedList(trials, np.array(this), None, np.arange(2), 20), by_hand(other))["figures"]
    for name in ("eer", "min_dcf", "min_dcf_05"):
        assert figures[name] == {
            "this": 0.0,
            "other": 0.25,
            "difference": {"value": -0.25, "low": -0.25, "high": -0.25},
        }
    assert figures["cllr"] is None
    turned = compare(JudgedList(trials, np.array(other), None, np.arange(2), 0), by_hand(this))["figures"]
    assert turned["eer"]["difference"] == {"value": 0.25, "low": None, "high": None}


def test_cllr_is_compared_where_both_have_llrs() -> None:
    trials, scores, _ = random_trials(1)
    silent, sure = np.zeros(len(scores)), np.where(trials.labels, np.log(3), -np.log(3))
    figures = compare(JudgedList(trials, scores, silent, np.arange(6), 10), by_hand(list(scores), list(sure)))[
        "figures"
    ]
    expected = 1 - np.log2(4 / 3)  # of llr = 0, less that of llr = +-ln 3 on the right side, whoever is drawn
    assert figures["cllr"]["difference"] == pytest.approx({"value": expected, "low": expected, "high": expected})
    for ours, theirs in ((None, list(sure)), (silent, None)):
        figures = compare(JudgedList(trials, scores, ours, np.arange(6), 2), by_hand(list(scores), theirs))["figures"]
        assert figures["cllr"] is None and figures["eer"] is not None


@pytest.mark.parametrize("seed", range(4))
def test_both_systems_are_measured_on_the_same_draws(seed: int) -> None:
    trials, scores, others = random_trials(seed)
    first, second, labels = trials.enrolments, trials.tests, trials.labels
    against = compare(JudgedList(trials, scores, scores, np.arange(6), 30, seed), by_hand(list(others), list(others)))
    rng = np.random.default_rng(seed)
    differences: list[NDArray[np.float64]] = []
    while len(differences) < 30:  # trials of the drawn speakers, written down as often as they were drawn
        w = rng.multinomial(6, np.full(6, 1 / 6))
        repeats = np.where(labels, w[first], w[first] * w[second])
        if (repeats * labels).sum() and (repeats * ~labels).sum():
            rows = np.repeat(np.arange(len(labels)), repeats)
            figures = [[f(x[rows], labels[rows]) for f in (eer, min_dcf, cllr)] for x in (scores, others)]
            differences.append(np.subtract(figures[0], figures[1]))
    low, high = np.quantile(differences, [0.025, 0.975], axis=0)
    for place, name in enumerate(("eer", "min_dcf", "cllr")):
        difference = against["figures"][name]["difference"]
        assert [difference["low"], difference["high"]] == pytest.approx([low[place], high[place]], abs=1e-12)
    assert against["figures"]["eer"]["this"] == eer(scores, labels)
    assert against["figures"]["eer"]["other"] == eer(others, labels)


def test_what_both_share_cancels_in_the_interval_of_the_difference() -> None:
    # Half of the speakers are hard for both systems, which moves both EERs together; one system is a little better.
    rng = np.random.default_rng(2)
    hard = np.tile([0.0, 2.5], 10)
    sides = rng.integers(0, 20, (2, 30_000)).astype(np.int32)
    sides[1, :6000] = sides[0, :6000]
    labels = sides[0] == sides[1]
    trials = TrialList(tuple(map(str, range(20))), sides[0], sides[1], labels, np.arange(1, 30_001, dtype=np.int32), 0)
    common = rng.normal(size=30_000) + np.where(labels, 1 + hard[sides[0]], 0)
    other = common + rng.normal(0, 0.5, 30_000)
    against = compare(JudgedList(trials, common, None, np.arange(20), 200), by_hand(list(other)))
    alone = compare(JudgedList(trials, common, None, np.arange(20), 200), by_hand(list(np.zeros(30_000))))
    (paired, single) = (what["figures"]["eer"]["difference"] for what in (against, alone))
    assert single["high"] - single["low"] > 3 * (paired["high"] - paired["low"])
    assert paired["high"] < 0
    assert describe_comparison(against)[1].endswith("a difference that these speakers show")


def test_the_comparison_reads_as_a_sentence() -> None:
    difference = {"value": -0.009, "low": -0.015, "high": -0.002}
    figures = {"eer": {"this": 0.052, "other": 0.061, "difference": difference}, "min_dcf": None}
    lines = describe_comparison({"path": "old/scores.tsv", "sha256": "", "trials": 1000, "figures": figures})
    assert lines[0] == "against old/scores.tsv, 1,000 trials:"
    words = "EER 5.20 % against 6.10 %: -0.90 [-1.50, -0.20], a difference that these speakers show"
    assert " ".join(lines[1].split()) == words and len(lines) == 2


# --- reading and matching


@pytest.mark.parametrize(
    "text",
    [
        PLAIN,
        PLAIN.replace(" ", "\t"),
        "enrolment test score\n" + PLAIN,
        "b1 b2 0.8\na2 b1 0.2\n\na1 a2 0.9\na1 b1 0.1\n",  # another order, a blank line
        "a2 a1 0.9\nb1 a1 0.1\nb1 a2 0.2\nb2 b1 0.8\n",  # all turned around
        "  a1   a2 9e-1\na1 b1 .1\na2 b1 +0.2\nb1\tb2 0.8",
        "Score\tTest\tEnrolment\n0.9\ta2\ta1\n0.1\tb1\ta1\n0.2\tb1\ta2\n0.8\tb2\tb1\n",
        "\ufeff" + PLAIN.replace("\n", "\r\n"),
        "label enrolment test score\n1 a1 a2 0.9\n0 a1 b1 0.1\nnontarget a2 b1 0.2\ntarget b1 b2 0.8\n",
        PLAIN + "a1 a2 0.9\n",  # a line twice
    ],
)
@pytest.mark.parametrize("block", [1, 1 << 20])
def test_every_way_of_writing_the_same_scores_is_read(
    text: str, block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sound_groove.evaluation.other_scores.BLOCK", block)  # 1: a line at a time
    other = read(tmp_path, text)
    assert other.scores.tolist() == [0.9, 0.1, 0.2, 0.8]
    assert other.llrs is None and not other.lacking.any() and other.notes == ()


def test_a_blank_line_of_tabs_is_a_blank_line(tmp_path: Path) -> None:
    assert read(tmp_path, PLAIN.replace(" ", "\t") + "\t\t\n \n").scores[0] == 0.9


@pytest.mark.parametrize("calibrated", [True, False])
def test_our_own_scores_are_read_as_they_were_written(calibrated: bool, tmp_path: Path) -> None:
    trials, scores, _ = random_trials(3)
    trials = replace(trials, ids=("with blank", "new\nline", "\udcff", "ü", "4", "5"))
    # a name and its pair turned around appear often: one score for each pair of names
    pairs = np.minimum(trials.enrolments, trials.tests) * 6 + np.maximum(trials.enrolments, trials.tests)
    scores = np.round(scores[np.unique(pairs, return_index=True)[1]], 6)[np.unique(pairs, return_inverse=True)[1]]
    llrs = np.round(2 * scores - 1, 6) if calibrated else None
    write_scores(tmp_path / "scores.tsv", JudgedList(trials, scores, llrs, np.arange(len(trials.ids))))
    other = read_other_scores(tmp_path / "scores.tsv", trials)
    assert np.array_equal(other.scores, scores)
    assert other.llrs is None if llrs is None else np.array_equal(np.asarray(other.llrs), llrs)


def test_the_order_of_lines_changes_nothing(tmp_path: Path) -> None:
    trials, _, others = random_trials(4)
    unique = np.unique(trials.enrolments * 6 + trials.tests, return_index=True)[1]
    columns = {name: getattr(trials, name)[unique] for name in ("enrolments", "tests", "labels", "lines")}
    trials = replace(trials, **columns)
    write_scores(tmp_path / "scores.tsv", JudgedList(trials, others[unique], None, np.arange(len(trials.ids))))
    header, *lines = (tmp_path / "scores.tsv").read_text().splitlines(keepends=True)
    ordered = read(tmp_path, header + "".join(lines), trials)
    for seed in range(5):
        shuffled = "".join(np.random.default_rng(seed).permutation(lines))
        assert np.array_equal(read(tmp_path, header + shuffled, trials).scores, ordered.scores)


def test_both_orders_of_a_pair_may_have_scores_of_their_own(tmp_path: Path) -> None:
    trials = trial_list(tmp_path, LIST + "a2 a1 target\n")
    other = read(tmp_path, PLAIN + "a2 a1 0.7\n", trials)
    assert other.scores.tolist() == [0.9, 0.1, 0.2, 0.8, 0.7]
    assert read(tmp_path, PLAIN + "a2 a1 0.7\n").scores.tolist() == [0.9, 0.1, 0.2, 0.8]  # one order only is asked


def test_repeated_trials_share_a_score_or_are_matched_in_turn(tmp_path: Path) -> None:
    trials = trial_list(tmp_path, LIST + "a1 a2 target\n")
    assert read(tmp_path, PLAIN, trials).scores.tolist() == [0.9, 0.1, 0.2, 0.8, 0.9]
    assert read(tmp_path, PLAIN + "a1 a2 0.6\n", trials).scores.tolist() == [0.9, 0.1, 0.2, 0.8, 0.6]
    with pytest.raises(TrialError, match=r"other.txt, lines 1, 5, 6: the same trial is given different scores"):
        read(tmp_path, PLAIN + "a1 a2 0.6\na1 a2 0.5\n", trials)
    with pytest.raises(TrialError, match=r"lines 1, 5: the same trial is given different scores; keep one of them"):
        read(tmp_path, PLAIN + "a1 a2 0.6\n")


def test_scores_of_other_trials_are_counted_and_passed_over(tmp_path: Path) -> None:
    other = read(tmp_path, PLAIN + "a1 b2 0.3\nx y 0.5\na1 y 0.4\na2 a1 0.9\n")
    assert other.scores.tolist() == [0.9, 0.1, 0.2, 0.8]
    assert len(other.notes) == 1 and other.notes[0].startswith("3 lines of ")


def test_a_trial_that_lacks_is_named(tmp_path: Path) -> None:
    lines = PLAIN.splitlines(keepends=True)
    with pytest.raises(TrialError, match=r"lacks 2 of the 4 trials, first 'a1' and 'b1' \(line 2 of the list\)"):
        read(tmp_path, lines[0] + lines[3])
    with pytest.raises(TrialError, match="lacks 4 of the 4 trials, first 'a1' and 'a2'"):
        read(tmp_path, "x y 0.5\n", allow_missing=True)


def test_trials_that_lack_are_left_out_where_that_is_allowed(tmp_path: Path) -> None:
    trials = trial_list(tmp_path)
    other = read(tmp_path, "".join(PLAIN.splitlines(keepends=True)[1:]), trials, allow_missing=True)
    assert other.lacking.tolist() == [True, False, False, False]
    note = f"1 of the 4 trials are not in {tmp_path / 'other.txt'}, and are left out of the comparison with it"
    assert other.notes == (note,)
    kept = other.only(np.array([True, True, False, True]))
    assert kept.lacking.tolist() == [True, False, False] and kept.scores[1:].tolist() == [0.1, 0.8]
    against = compare(JudgedList(trials, np.array([0.0, 1, 1, 2]), None, np.array([0, 0, 1, 1]), 3), other)
    assert against["trials"] == 3 and against["figures"]["eer"]["this"] == 0.0
    with pytest.raises(TrialError, match="has trials of one kind only"):
        read(tmp_path, "a1 a2 0.9\nb2 b1 0.8\n", trials, allow_missing=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (PLAIN.replace("0.2", "nan"), r"other.txt, line 3: the score is 'nan'; expected a number"),
        (PLAIN.replace("0.2", "high"), r"line 3: the score is 'high'; expected a number"),
        ("\n" + PLAIN.replace("0.1", "0,1"), r"line 3: the score is '0,1'"),
        ("enrolment test score llr\na1 a2 1 inf\n", r"line 2: the llr is 'inf'; expected a finite number"),
        ("enrolment\ttest\tscore\tllr\na1\ta2\t1\t1\na1\tb1\t1\t\n", r"line 3: the llr is ''"),
        ("enrolment\ttest\tscore\tlabel\na1\ta2\t1\tyes\n", r"line 2: the label is 'yes'; expected 0 or 1"),
        (PLAIN + "a1 b2\n", r"line 5: 'a1 b2' is not a score; expected 'enrolment test score'"),
        (PLAIN + "1 a1 b2 0.5\n", r"line 5: '1 a1 b2 0.5' is not a score"),
        ("1 a1 a2 0.5\n", r"line 1: '1 a1 a2 0.5' is not a score"),
        ("utt1 utt2 value\n" + PLAIN, r"line 1: the score is 'value'"),
        ("enrolment test score labels\n", r"line 1: there is no column 'labels' of scores; did you mean 'label'\?"),
        ("enrolment score\n", r"line 1: the header names no column 'test'"),
        ("enrolment test score score\n", r"line 1: the header names a column twice"),
        ("", "holds no scores"),
        ("\n \n", "holds no scores"),
        ("enrolment test score\n", "holds no scores"),
        (PLAIN.encode("utf-16"), "is in UTF-16; save it as UTF-8"),
        (b"\x00\x01\x02", "line 1: .* is not a score"),
        ("enrolment test score label\na1 a2 1 0\na1 b1 0 0\na2 b1 0 1\nb1 b2 1 1\n",
         r"contradicts 2 labels of the trial list, first in line 2 that of line 1"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_told_with_its_line(text: str | bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(TrialError, match=message):
        read(tmp_path, text)


def test_llrs_on_some_lines_only_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sound_groove.evaluation.other_scores.BLOCK", 1)
    header, lines = "enrolment\ttest\tscore\tllr\n", PLAIN.replace(" ", "\t").splitlines()
    with pytest.raises(TrialError, match="some lines have an llr and others have none"):
        read(tmp_path, header + "\n".join(f"{line}\t{'' if number < 2 else 1}" for number, line in enumerate(lines)))


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(TrialError, match="the other scores cannot be read: No such file"):
        read_other_scores(tmp_path / "none.tsv", trial_list(tmp_path))
    with pytest.raises(TrialError, match="cannot be read"):
        read_other_scores(tmp_path, trial_list(tmp_path))


# --- the command line


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """Two tones for each of two 'speakers', and a list of all their pairs."""
    time = np.arange(8000) / 16000
    (tmp_path / "wav").mkdir()
    for name, frequency in {"a1": 500, "a2": 520, "b1": 2000, "b2": 2050}.items():
        soundfile.write(tmp_path / f"wav/{name}.wav", 0.3 * np.sin(2 * np.pi * frequency * time), 16000)
    names = ("a1", "a2", "b1", "b2")
    lines = [f"{int(x[0] == y[0])} {x}.wav {y}.wav\n" for i, x in enumerate(names) for y in names[i + 1 :]]
    (tmp_path / "trials.txt").write_text("".join(lines))
    return tmp_path


def test_a_model_is_compared_with_its_own_earlier_result(
    recordings: Path, model_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["verify", "--model", str(model_path), "--trials", str(recordings / "trials.txt")]
    words += ["--audio-root", str(recordings / "wav"), "--resamples", "10", "--threads", "1"]
    assert main([*words, "--out", str(recordings / "one")]) == 0
    assert json.loads((recordings / "one/metrics.json").read_text())["against"] is None
    assert "against" not in capsys.readouterr().out
    other = recordings / "one/scores.tsv"
    assert main([*words, "--out", str(recordings / "two"), "--against", str(other)]) == 0
    assert "which these speakers cannot tell apart" in capsys.readouterr().out
    against = json.loads((recordings / "two/metrics.json").read_text())["against"]
    assert against["path"] == str(other) and len(against["sha256"]) == 64 and against["trials"] == 6
    assert against["figures"]["eer"]["difference"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    assert against["figures"]["cllr"]["difference"]["value"] == pytest.approx(
        0, abs=1e-5
    )  # of the rounding in the file


def test_trials_that_neither_system_could_score_are_no_obstacle_where_that_is_allowed(
    recordings: Path, model_path: Path
) -> None:
    (recordings / "wav/b1.wav").unlink()
    words = ["verify", "--model", str(model_path), "--trials", str(recordings / "trials.txt"), "--allow-missing"]
    words += ["--audio-root", str(recordings / "wav"), "--resamples", "0", "--threads", "1"]
    assert main([*words, "--out", str(recordings / "one")]) == 0
    against = ("--against", str(recordings / "one/scores.tsv"))
    assert main([*words, "--out", str(recordings / "two"), *against]) == 0
    metrics = json.loads((recordings / "two/metrics.json").read_text())
    assert metrics["against"]["trials"] == metrics["trials"] == 3
    assert any("3 of the 6 trials are not in" in note for note in metrics["notes"])
    words.remove("--allow-missing")
    assert main([*words, "--out", str(recordings / "three"), *against]) == 1


def test_a_mistake_in_the_other_scores_is_told_before_the_model_is_loaded(
    recordings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (recordings / "other.txt").write_text("a1.wav a2.wav 0.9\n")
    words = ("--model", "no such model", "--trials", recordings / "trials.txt", "--audio-root", recordings / "wav")
    assert main(["verify", *map(str, words), "--against", str(recordings / "other.txt")]) == 1
    assert "lacks 5 of the 6 trials" in capsys.readouterr().err
