"""Files appear under their final names whole, or not at all."""

import json
from pathlib import Path

import pytest

from sound_groove.errors import OutputError
from sound_groove.files import READINGS, read_as_one, read_json, replaced, replaced_bytes, write_json


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("old", encoding="utf-8")
    with pytest.raises(ZeroDivisionError), replaced(path) as file:
        file.write("half of the new")
        raise ZeroDivisionError
    assert path.read_text(encoding="utf-8") == "old"
    with replaced(path) as file:
        file.write("first\nsecond, \u8bed\u97f3\n")
        assert path.read_text(encoding="utf-8") == "old"
    assert path.read_bytes() == "first\nsecond, \u8bed\u97f3\n".encode()
    assert [entry.name for entry in tmp_path.iterdir()] == ["list.txt"]


@pytest.mark.parametrize("durable", [True, False])
def test_so_are_bytes(tmp_path: Path, durable: bool) -> None:
    path = tmp_path / "a.bin"
    with pytest.raises(ZeroDivisionError), replaced_bytes(path, durable) as file:
        file.write(b"half")
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())
    with replaced_bytes(path, durable) as file:
        file.write(b"\x00\r\n\xff")
    assert path.read_bytes() == b"\x00\r\n\xff"


def test_an_object_comes_back_and_what_json_cannot_say_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"name": "\u8bed\u97f3", "eer": 0.05})
    assert read_json(path) == json.loads(path.read_text(encoding="utf-8")) == {"name": "\u8bed\u97f3", "eer": 0.05}
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"eer": float("nan")})
    assert read_json(path)["eer"] == 0.05


def test_what_cannot_be_read_or_written_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"a\.json: cannot be read"):
        read_json(tmp_path / "a.json")
    (tmp_path / "a.json").write_text("[1]", encoding="utf-8")
    with pytest.raises(OutputError, match="does not hold an object"):
        read_json(tmp_path / "a.json")
    with pytest.raises(OutputError, match=r"nowhere/a\.json: cannot be written: No such file"):
        write_json(tmp_path / "nowhere" / "a.json", {})


def put(path: Path, text: str) -> None:
    """Another file with this text in the place of what is there."""
    with replaced(path) as file:
        file.write(text)


@pytest.mark.parametrize("fails", [False, True])
def test_a_file_that_is_replaced_while_it_is_read_is_read_again(tmp_path: Path, fails: bool) -> None:
    path = tmp_path / "a.txt"
    put(path, "old")
    seen: list[str] = []

    def read() -> tuple[str, str]:
        seen.append(path.read_text(encoding="utf-8"))
        if len(seen) == 1:
            put(path, "new")
        second = path.read_text(encoding="utf-8")
        if fails and second != seen[-1]:
            raise ValueError("halves of two files")
        return seen[-1], second

    assert read_as_one(path, read) == ("new", "new")
    assert seen == ["old", "new"]


def test_an_error_of_reading_is_told_and_so_is_a_file_that_never_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    put(path, "")
    readings: list[int] = []

    def read() -> None:
        readings.append(len(readings))
        put(path, "x" * len(readings))

    with pytest.raises(OSError, match="again and again"):
        read_as_one(path, read)
    assert len(readings) == READINGS
    with pytest.raises(ZeroDivisionError):
        read_as_one(path, lambda: 1 // 0)
    with pytest.raises(FileNotFoundError):
        read_as_one(tmp_path / "none", lambda: 1)
