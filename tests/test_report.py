"""The page: it stands alone, holds what is known and nothing else, and no name can break it."""

import copy
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from cnceleb_tree import build_cnceleb
from evaluation_inputs import SpectrumEncoder, write_small_list
from sound_groove.evaluation import results
from sound_groove.evaluation.report.page import summary, write_report
from sound_groove.evaluation.trials.trial_sets import trials_from_list
from sound_groove.evaluation.verification import VerificationSettings, evaluate
from sound_groove.types import ModelIdentity

VOID = {"meta", "img", "col", "br", "hr", "link", "input", "source"}
HOSTILE = "<script>alert(1)</script> \"quoted\" 'it' & \x1b[31m\n\u202e"


class Page(HTMLParser):
    """A page taken apart; what is not closed, or closed twice, is an error."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        assert len(dict(attributes)) == len(attributes), f"an attribute of <{tag}> stands there twice"
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """A real result with genres and voices, and its folder."""
    folder = tmp_path_factory.mktemp("judged")
    tree = build_cnceleb(folder, dev=1, evaluation=10, second=0, clean=True)
    trial_set = trials_from_list(tree.lists / "trials.lst", tree.cnceleb1 / "eval")
    return evaluate(
        SpectrumEncoder(), trial_set, folder / "out", VerificationSettings(resamples=20, audio=True), "a command"
    ), folder / "out"


def figure(value: float) -> dict[str, float]:
    return {"value": value, "low": 0.9 * value, "high": 1.1 * value}


def full(metrics: dict[str, Any]) -> dict[str, Any]:
    """The same with all that other evaluations may add."""
    metrics = copy.deepcopy(metrics)
    names = ("eer", "min_dcf", "min_dcf_05", "min_cllr")
    metrics["scoring"] = "as-norm"
    metrics["scorings"] = {
        scoring: {name: figure(0.2 + 0.1 * number) for name in names} | {"cllr": None}
        for number, scoring in enumerate(("cosine", "as-norm"))
    }
    metrics["cohort"] = {"source": "data/mine", "speakers": 2793, "utterances": 40_000, "top": 300}
    difference = {"value": -0.01, "low": -0.015, "high": -0.004}
    metrics["against"] = {
        "path": "other/scores.tsv",
        "sha256": "ab" * 32,
        "trials": 100,
        "figures": {
            "eer": {"this": 0.0812, "other": 0.0912, "difference": difference},
            "min_dcf": {"this": 0.4, "other": 0.3, "difference": {"value": 0.1, "low": 0.05, "high": 0.15}},
            "min_dcf_05": {"this": 0.4, "other": 0.3, "difference": {"value": 0.1, "low": -0.05, "high": 0.15}},
            "cllr": None,
        },
    }
    empty = {"predicted": None, "observed": None, "observed_low": None, "observed_high": None, "trials": 0}
    whole = {"predicted": 0.93, "observed": 0.88, "observed_low": 0.81, "observed_high": 0.94, "trials": 77}
    bins = [{"low": 0.8, "high": 0.9} | empty, {"low": 0.9, "high": 1.0} | whole]
    metrics["calibration"] = {"cllr": 0.31, "min_cllr": 0.25, "loss": 0.06, "prior": 0.5, "reliability": bins}
    return metrics


def written(folder: Path, metrics: dict[str, Any], pictures: Path | None = None, **options: Any) -> Page:
    paths = [(pictures or folder) / name for name in results.PICTURES]
    write_report(folder / "page.html", metrics, paths, **options)
    return Page(folder / "page.html")


def test_a_real_page_is_well_formed_and_fetches_nothing(judged: tuple[dict[str, Any], Path]) -> None:
    metrics, folder = judged
    page = Page(folder / "report.html")
    links = [
        value or ""
        for _, attributes in page.tags
        for name, value in attributes.items()
        if name in ("src", "href", "srcset", "poster", "data", "action")
    ]
    assert len(links) > 20
    assert all(link.startswith(("#", "data:image/png;base64,", "data:audio/")) for link in links)
    style = page.source.partition("<style>")[2].partition("</style>")[0]
    assert "url(" not in style and "@import" not in style and not page.all("script")
    assert len(page.all("img")) == 5  # four, and the genres
    assert f"{100 * metrics['eer']['value']:.2f} %" in page.text and "a command" in page.text
    assert metrics["model"]["hash"] in page.text and metrics["trial_list"]["sha256"] in page.text


def test_pictures_and_players_can_be_told_without_seeing_them(judged: tuple[dict[str, Any], Path]) -> None:
    page = Page(judged[1] / "report.html")
    assert all(len(image["alt"] or "") > 30 for image in page.all("img"))
    players = page.all("audio")
    assert len(players) > 10
    assert all(player["preload"] == "metadata" and player["aria-label"] and "controls" in player for player in players)


def test_the_contents_lead_to_every_part_and_to_no_other(judged: tuple[dict[str, Any], Path], tmp_path: Path) -> None:
    for metrics in (judged[0], full(judged[0])):
        page = written(tmp_path, metrics, judged[1])
        headings = [attributes["id"] for attributes in page.all("h2")]
        assert [attributes["href"] for attributes in page.all("a")] == [f"#{name}" for name in headings]
        assert len(set(headings)) == len(headings) > 4


def test_parts_without_figures_are_left_out(judged: tuple[dict[str, Any], Path], tmp_path: Path) -> None:
    added = ("scorings", "against", "calibration", "breakdowns", "worst")
    page = written(tmp_path, full(judged[0]), judged[1])
    assert set(added) < {attributes["id"] for attributes in page.all("h2")}
    for value in (None, "absent"):
        metrics = full(judged[0]) | dict.fromkeys((*added, "cohort", "scoring"), value)
        if value:
            for key in (*added, "cohort", "scoring"):
                del metrics[key]
        page = written(tmp_path, metrics | {"notes": []})
        assert [attributes["id"] for attributes in page.all("h2")] == ["figures", "origin"]


def test_what_other_evaluations_add_is_told(judged: tuple[dict[str, Any], Path], tmp_path: Path) -> None:
    text = written(tmp_path, full(judged[0]), judged[1]).text
    for words in (
        "as-norm (main)30.00 %[27.00, 33.00 %]",
        "EER8.12 %9.12 %-1.00 %[-1.50, -0.40 %]this model",
        "minDCF 0.010.4000.300+0.100[0.050, 0.150]the other",
        "minDCF 0.050.4000.300+0.100[-0.050, 0.150]cannot be told",
        "Cllr 0.310 bits, of which 0.060 are lost",
        "90 to 100 %93.0 %88.0 %[81.0, 94.0 %]77",
        "data/mine: 2,793 speakers, 40,000 utterances",
    ):
        assert words in text
    assert "80 to 90 %" not in text  # nothing was stated there


def test_groups_are_told_with_their_rates_or_why_there_are_none(
    judged: tuple[dict[str, Any], Path], tmp_path: Path
) -> None:
    metrics = copy.deepcopy(judged[0])
    common = {"trials": 1100, "targets": 100, "nontargets": 1000}
    measured = {"eer": figure(0.1), "reason": None, "miss_rate": 0.125, "false_alarm_rate": 0.25}
    none = {"eer": None, "reason": "no same-speaker trials", "miss_rate": None, "false_alarm_rate": 0.5}
    metrics["breakdowns"] = [
        {
            "by": "gender",
            "title": "by gender",
            "kind": "groups",
            "groups": [
                {"name": "both female"} | common | measured,
                {"name": "female x male", "trials": 50, "targets": 0, "nontargets": 50} | none,
            ],
        }
    ]
    page = written(tmp_path, metrics)
    assert "both female10.00 %[9.00, 11.00 %]12.50 %of 10025.00 %of 1,000" in page.text
    assert "female x maleno same-speaker trials-50.00 %of 50" in page.text
    placed = [attributes["style"] or "" for attributes in page.all("span") if "style" in attributes]
    assert len(placed) == 3
    for style in placed:
        assert 0 <= sum(float(part.partition(":")[2].rstrip("%")) for part in style.split(";")) <= 100


def test_no_name_can_break_the_page(judged: tuple[dict[str, Any], Path], tmp_path: Path) -> None:
    metrics = full(judged[0])
    metrics["model"]["name"] = metrics["command"] = metrics["protocol"] = HOSTILE
    metrics["trial_list"] |= {"path": HOSTILE, "format": HOSTILE}
    metrics["scoring"] = metrics["cohort"]["source"] = metrics["against"]["path"] = HOSTILE
    metrics["scorings"][HOSTILE] = metrics["scorings"]["cosine"]
    metrics["metadata"] = {"path": HOSTILE, "sha256": "0" * 64, "columns": [HOSTILE]}
    metrics["notes"] = [HOSTILE]
    for breakdown in metrics["breakdowns"]:
        breakdown["title"] = HOSTILE
        for group in breakdown["groups"]:
            group |= {"pair": [HOSTILE, HOSTILE]} if "pair" in group else {"name": HOSTILE}
    record = metrics["worst"]["false_accepts"][0]
    record |= {"enrolment": HOSTILE, "test": HOSTILE, "enrolment_files": [HOSTILE], "test_files": ["x.wav"]}
    page = written(tmp_path, metrics, judged[1], excerpts={(HOSTILE,): "data:audio/mpeg;base64,AAAA"})
    assert not page.all("script") and "<script" not in page.source
    assert not set(page.source) & {"\x1b", "\u202e"}
    assert page.text.count("<script>alert(1)</script> \"quoted\" 'it' & \\x1b[31m\\n\\u202e") > 12
    assert len(page.all("audio")) == 1 and "<script>" in (page.all("audio")[0]["aria-label"] or "")


def test_the_page_of_a_hostile_model_and_the_table_of_the_terminal(tmp_path: Path) -> None:
    folder = write_small_list(tmp_path)
    trial_set = trials_from_list(folder / "trials.txt", folder / "wav")
    encoder = SpectrumEncoder()
    encoder.identity = ModelIdentity("<script>$alert(1)$</script>", "0" * 64)  # $ would be mathematics in a picture
    metrics = evaluate(encoder, trial_set, folder / "out", VerificationSettings(resamples=20))
    page = Page(folder / "out/report.html")
    assert "<script>" not in page.source and "<script>$alert(1)$</script>" in page.text
    assert len(page.all("img")) == 3  # no t-SNE of four recordings
    table = summary(metrics)
    assert f"EER {100 * metrics['eer']['value']:>10.2f} %".split() == table[3].split()[:3]


def test_a_report_without_figures_still_reads(judged: tuple[dict[str, Any], Path], tmp_path: Path) -> None:
    metrics = judged[0] | {"cllr": None, "recall_at_1": None, "notes": []}
    assert "Cllr" in written(tmp_path, metrics, tmp_path / "nowhere").text


def test_no_folder_of_the_machine_is_named(judged: tuple[dict[str, Any], Path], tmp_path: Path) -> None:
    metrics, folder = full(judged[0]), judged[1]
    here, elsewhere = str(Path.cwd()), "/srv/anna/recordings"
    metrics["command"] = f"sound-groove verify --trials {here}/lists/a.txt --audio-root {elsewhere}/wav"
    metrics["trial_list"]["path"] = metrics["cohort"]["source"] = f"{elsewhere}/trials.txt"
    metrics["against"]["path"] = f"{here}/before/scores.tsv"
    metrics["notes"] = [f"3 recordings are missing under {elsewhere}/wav; see https://example.org/srv/anna"]
    record = metrics["worst"]["false_accepts"][0]
    record |= {"enrolment": "a", "test": f"{elsewhere}/b.wav", "enrolment_files": [f"{elsewhere}/x/c.wav"]}
    page = written(tmp_path, metrics, folder)
    assert here not in page.source and "/srv/anna/rec" not in page.source and str(folder.parent) not in page.source
    for text in (
        "--trials lists/a.txt --audio-root .../recordings/wav",
        ".../recordings/trials.txt",
        "before/scores.tsv",
        ".../x/c.wav",
        "https://example.org/srv/anna",
    ):
        assert text in page.text
