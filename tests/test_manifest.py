"""The manifest: what is written is read, and what is broken is named by its line."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from sound_groove.corpora.manifest import (
    Utterance,
    manifest_hash,
    read_manifest,
    utterance_record,
    write_manifest,
)
from sound_groove.errors import CorpusError

JOINED = Utterance(
    key="张三/play-01-001+1",
    speaker="张三",
    paths=("/data/张三/play-01-001.flac", "/data/张三/play 01 002.flac"),
    samples=(16000, 24000),
    split="train",
    genre="play",
    session="play-01",
    feature_path=None,
)
PLAIN = Utterance("b/x/001", "b", ("/data/b/x/001.wav",), (8000,), "validation", None, None, "/out/fbank_pt/b/x/001.pt")
PACKED = replace(JOINED, shard_path="/out/pack/00003-0123456789abcdef.pcm", shard_offset=8_000_000)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_manifest(tmp_path / "manifest.jsonl", [PLAIN, JOINED, PACKED])
    assert read_manifest(tmp_path) == [PLAIN, JOINED, PACKED]
    assert read_manifest(tmp_path / "manifest.jsonl") == [PLAIN, JOINED, PACKED]


def test_a_line_holds_what_the_contract_says(tmp_path: Path) -> None:
    write_manifest(tmp_path / "manifest.jsonl", [JOINED])
    record = json.loads((tmp_path / "manifest.jsonl").read_text(encoding="utf-8"))
    assert list(record) == [
        *("utterance", "speaker", "paths", "samples", "duration_s", "split", "genre", "session", "feature_path"),
    ]
    assert list(utterance_record(PACKED)) == [*record, "shard_path", "shard_offset"]
    assert record["duration_s"] == 2.5 == JOINED.duration_s  # 40,000 samples at 16 kHz


def test_the_name_is_the_key_without_the_speaker() -> None:
    assert PLAIN.name == "x/001"


def test_strings_that_utterances_share_exist_once(tmp_path: Path) -> None:
    write_manifest(tmp_path / "manifest.jsonl", [PACKED, PACKED])
    first, second = read_manifest(tmp_path)
    assert first.shard_path is second.shard_path
    assert first.speaker is second.speaker
    assert first.genre is second.genre


def test_the_hash_is_that_of_the_file(tmp_path: Path) -> None:
    write_manifest(tmp_path / "manifest.jsonl", [PLAIN])
    expected = hashlib.sha256((tmp_path / "manifest.jsonl").read_bytes()).hexdigest()
    assert manifest_hash(tmp_path) == manifest_hash(tmp_path / "manifest.jsonl") == expected


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"paths": None}, "line 2"),
        ({"paths": [], "samples": []}, "count of samples"),
        ({"samples": [1, 2, 3]}, "count of samples"),
        ({"samples": [1.5, 2]}, "count of samples"),
        ({"samples": [0, 1]}, "count of samples"),
        ({"split": "test"}, "train or validation"),
        ({"utterance": "李四/play-01-001"}, "speaker/utterance"),
        ({"speaker": 5}, "must be text"),
        ({"shard_path": 5, "shard_offset": 0}, "shard must be a path"),
        ({"shard_path": "/a.pcm", "shard_offset": -1}, "offset in it a count"),
        ({"shard_path": "/a.pcm"}, "'shard_offset' is missing"),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, change: dict[str, object], complaint: str) -> None:
    path = tmp_path / "manifest.jsonl"
    lines = [json.dumps(utterance_record(PLAIN)), json.dumps(utterance_record(JOINED) | change)]
    path.write_text("\n".join(lines))
    with pytest.raises(CorpusError, match=f"line 2.*{complaint}|{complaint}"):
        read_manifest(path)


def test_a_line_without_a_field_names_the_field(tmp_path: Path) -> None:
    path = tmp_path / "manifest.jsonl"
    path.write_text('{"utterance": "a/b"}\n')
    with pytest.raises(CorpusError, match=r"line 1.*'paths' is missing"):
        read_manifest(path)


@pytest.mark.parametrize("content", [b"{", b"[1, 2]\n", b"\xff\xfe\n", b"null\n"])
def test_a_file_that_is_no_manifest_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "manifest.jsonl"
    path.write_bytes(content)
    with pytest.raises(CorpusError, match="line 1"):
        read_manifest(path)


def test_a_missing_or_empty_manifest_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="prepare"):
        read_manifest(tmp_path)
    with pytest.raises(CorpusError, match="prepare"):
        manifest_hash(tmp_path)
    (tmp_path / "manifest.jsonl").touch()
    with pytest.raises(CorpusError, match="empty"):
        read_manifest(tmp_path)
