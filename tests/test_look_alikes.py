"""Names that look like each other: Unicode's confusables, and the store that finds them."""

import unicodedata
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sound_groove.voiceprints.store import schema, speaker_rows
from sound_groove.voiceprints.store.look_alikes import skeleton
from store_places import MODEL, SqlitePlace, recording

# From Unicode's own examples (UTS 39, section 4, and confusables.txt).
ALIKE = [
    ("paypal", "раураl"),  # Cyrillic
    ("scope", "ѕсоре"),
    ("Anna", "Αnna"),  # Greek
    ("toys-я-us", "toуs-я-us"),
    ("Barn", "Bam"),
    ("Il", "lI"),
    ("O2", "02"),
    ("Max", "Мaх"),
    ("ss", "ѕѕ"),
    ("abc", "𝐚𝐛𝐜"),  # mathematical
    ("a", "ａ"),  # full width
    ("Zoë", "Zоë"),
    ("o", "ס"),  # Hebrew
]
UNLIKE = [("Anna", "anna"), ("Anna", "Anne"), ("Zoë", "Zoe"), ("Kim", "Kin"), ("李", "季"), ("a b", "ab")]


@pytest.mark.parametrize(("one", "other"), ALIKE)
def test_names_of_other_characters_that_look_the_same_have_one_skeleton(one: str, other: str) -> None:
    assert one != other and skeleton(one) == skeleton(other)


@pytest.mark.parametrize(("one", "other"), UNLIKE)
def test_names_that_look_otherwise_have_not(one: str, other: str) -> None:
    assert skeleton(one) != skeleton(other)


@given(st.text(max_size=20))
def test_a_skeleton_does_not_depend_on_how_a_letter_is_composed(name: str) -> None:
    forms = {skeleton(unicodedata.normalize(form, name)) for form in ("NFC", "NFD")}
    assert len(forms) == 1


def test_a_store_finds_the_names_that_look_like_a_new_one(tmp_path: Path) -> None:
    with closing(SqlitePlace(tmp_path / "v.db").open()) as store:
        for name in ("Anna", "Αnna", "Ben"):
            store.add(name, [recording(1)], MODEL, None, "me")
        assert store.look_alikes("Аnnа") == ["Anna", "Αnna"] and store.look_alikes("Anna") == ["Αnna"]
        assert store.look_alikes("Ben") == store.look_alikes("anna") == []
        store.remove("Anna", "me")
        assert store.look_alikes("Аnnа") == ["Αnna"]


def test_names_are_compared_anew_by_a_newer_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = SqlitePlace(tmp_path / "v.db")
    with closing(place.open()) as store, monkeypatch.context() as patched:
        patched.setattr(speaker_rows, "skeleton", lambda name: "")
        store.add("Anna", [recording(1)], MODEL, None, "me")
    with closing(place.open()) as store:
        assert store.look_alikes("Аnnа") == []  # what an older table said
    monkeypatch.setattr(schema, "table_version", lambda: (1000,))
    with closing(place.open()) as store:
        assert store.look_alikes("Аnnа") == ["Anna"] and store.voiceprint("Anna").speaker.name == "Anna"
