"""Downloading from a server that drops, lies, stalls and sends the wrong bytes, and unpacking what came."""

import hashlib
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tarfile
import zipfile
from collections import namedtuple
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from mirror import Mirror, Place, wait_until_sent
from processes import heed_interrupts
from sound_groove import cli
from sound_groove.corpora.downloads import COLLECTIONS, MIRRORS, Archive, Patience, RemoteFile, acquisition, download
from sound_groove.errors import DownloadError, OutputError, UsageError
from sound_groove.fetching.partial_file import Origin, PartialFile

QUICK = Patience(stall_s=0.3, attempts=3, wait_s=0.01, longest_wait_s=0.02)
CONTENT = {f"data/id{n:05d}/singing-01-001.flac": random.Random(n).randbytes(20_000) for n in range(10)}
Command = Callable[..., tuple[int, str, str]]
Get = Callable[..., list[str]]
Usage = namedtuple("Usage", "total used free")


def tar_bytes(folder: str, content: dict[str, bytes] = CONTENT, *members: tarfile.TarInfo) -> bytes:
    """A tar.gz of a folder, with further members behind."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", compresslevel=1) as target:
        for name, data in content.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(data)
            target.addfile(member, io.BytesIO(data))
        for member in members:
            target.addfile(member, io.BytesIO(bytes(member.size)))
    return out.getvalue()


def zip_bytes(content: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as target:
        for name, data in content.items():
            target.writestr(name, data)
    return out.getvalue()


def md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


def archive_of(data: bytes, name: str = "musan.tar.gz", folder: str = "musan", size_known: bool = True) -> Archive:
    file = RemoteFile(name, len(data) if size_known else None)
    return Archive(1, 17, (file,), md5(data), len(data), folder, 200_000)


MUSAN = tar_bytes("musan")
ARCHIVE = archive_of(MUSAN)
PATH = "/17/musan.tar.gz"
LENGTH = len(MUSAN)
WRONG = MUSAN[:1000] + bytes([MUSAN[1000] ^ 1]) + MUSAN[1001:]


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    with Mirror() as server:
        server.places[PATH] = Place(MUSAN)
        yield server


@pytest.fixture
def get(mirror: Mirror, tmp_path: Path) -> Get:
    """Download from the server (its mirrors being `/a`, `/b`, or the whole); gives what was told."""

    def get(archive: Archive = ARCHIVE, *mirrors: str, keep: bool = False) -> list[str]:
        told: list[str] = []
        urls = [mirror.url + name for name in mirrors or ("",)]
        download([archive], tmp_path, urls, keep=keep, patience=QUICK, tell=told.append)
        return told

    return get


def is_whole(folder: Path, content: dict[str, bytes] = CONTENT) -> bool:
    found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return found == content


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def starts(mirror: Mirror) -> list[int | None]:
    return [asked.start for asked in mirror.asked]


# --- what comes, and what is left ---


def test_an_archive_is_fetched_checked_unpacked_and_removed(mirror: Mirror, get: Get, tmp_path: Path) -> None:
    assert get() == []
    assert names(tmp_path) == {"musan"} and is_whole(tmp_path / "musan")
    assert starts(mirror) == [None] and mirror.asked[0].sent == LENGTH


def test_archives_are_kept_on_request(get: Get, tmp_path: Path) -> None:
    get(keep=True)
    assert names(tmp_path) == {"musan", "musan.tar.gz"}
    assert (tmp_path / "musan.tar.gz").read_bytes() == MUSAN


def test_what_is_there_is_neither_fetched_nor_touched(mirror: Mirror, get: Get, tmp_path: Path) -> None:
    (tmp_path / "musan").mkdir()
    assert get() == [f"{tmp_path / 'musan'} is there already: nothing to do for it"]
    assert mirror.asked == [] and names(tmp_path / "musan") == set()


def test_a_file_in_the_place_of_the_folder_is_refused(get: Get, tmp_path: Path) -> None:
    (tmp_path / "musan").write_text("")
    with pytest.raises(OutputError, match="musan: is a file where the corpus is to lie; move it away"):
        get()


def test_an_archive_downloaded_by_hand_is_used(mirror: Mirror, get: Get, tmp_path: Path) -> None:
    (tmp_path / "musan.tar.gz").write_bytes(MUSAN)
    get()
    assert mirror.asked == [] and is_whole(tmp_path / "musan")


def test_a_wrong_archive_of_another_hand_is_named_and_not_removed(mirror: Mirror, get: Get, tmp_path: Path) -> None:
    (tmp_path / "musan.tar.gz").write_bytes(WRONG)
    with pytest.raises(DownloadError, match=f"its md5 is {md5(WRONG)}, and {md5(MUSAN)} is expected.*remove it"):
        get()
    assert names(tmp_path) == {"musan.tar.gz"} and mirror.asked == []


# --- connections that end, stall or never begin ---


def test_a_connection_that_drops_again_and_again_is_gone_on_with(mirror: Mirror, get: Get, tmp_path: Path) -> None:
    mirror.places[PATH].drops = [50_000, 30_000, 1, 20_000, 7, 40_000]  # more drops than attempts without progress
    assert get() == []
    assert starts(mirror) == [None, 50_000, 80_000, 80_001, 100_001, 100_008, 140_008]
    assert sum(asked.sent for asked in mirror.asked) == LENGTH  # no byte came twice
    assert is_whole(tmp_path / "musan")


def test_a_second_call_does_not_fetch_the_first_bytes_again(mirror: Mirror, get: Get, tmp_path: Path) -> None:
    mirror.places[PATH].drops = [70_000, 0, 0, 0]
    with pytest.raises(DownloadError, match=rf"the connection ended after 70,000 of {LENGTH:,} bytes.*\(what came is"):
        get()
    assert names(tmp_path) == {"musan.tar.gz.partial", "musan.tar.gz.partial.json"}
    mirror.places[PATH].drops = []
    mirror.asked.clear()
    get()
    assert starts(mirror) == [70_000] and mirror.asked[0].sent == LENGTH - 70_000
    assert names(tmp_path) == {"musan"} and is_whole(tmp_path / "musan")


def test_another_mirror_goes_on_where_one_gave_up(mirror: Mirror, get: Get, tmp_path: Path) -> None:
    mirror.places[f"/a{PATH}"] = Place(MUSAN, drops=[60_000, 0, 0, 0], etag='"a"')
    mirror.places[f"/b{PATH}"] = Place(MUSAN, etag='"b"')
    told = get(ARCHIVE, "/a", "/b")
    assert [(asked.path[:2], asked.start) for asked in mirror.asked] == [
        ("/a", None),
        ("/a", 60_000),
        ("/a", 60_000),
        ("/a", 60_000),
        ("/b", 60_000),
    ]
    assert len(told) == 1 and told[0].endswith("trying the next mirror") and is_whole(tmp_path / "musan")


def test_a_stall_is_a_drop(mirror: Mirror, get: Get, tmp_path: Path) -> None:
    mirror.places[PATH].drops, mirror.places[PATH].stalls = [90_000], True
    get()
    assert starts(mirror) == [None, 90_000] and is_whole(tmp_path / "musan")


def test_a_mirror_that_always_stalls_is_given_up(mirror: Mirror, get: Get) -> None:
    mirror.places[PATH].drops, mirror.places[PATH].stalls = [0] * 9, True
    with pytest.raises(DownloadError, match="nothing came for too long"):
        get()
    assert len(mirror.asked) == QUICK.attempts


@pytest.mark.parametrize("status", [404, 403, 500, 503])
def test_an_error_of_a_mirror_leads_to_the_next(mirror: Mirror, get: Get, tmp_path: Path, status: int) -> None:
    mirror.places[f"/a{PATH}"] = Place(status=status)
    told = get(ARCHIVE, "/a", "")
    assert len(told) == 1 and f"/a{PATH}: HTTP {status} " in told[0]
    assert [asked.path for asked in mirror.asked] == [f"/a{PATH}", PATH] and is_whole(tmp_path / "musan")


def test_where_no_mirror_has_it_each_is_named_with_its_reason(mirror: Mirror, get: Get, tmp_path: Path) -> None:
    mirror.places = {f"/b{PATH}": Place(status=503)}
    with Mirror() as ended:
        nobody = ended.url
    with pytest.raises(DownloadError) as failure:
        download([ARCHIVE], tmp_path, [f"{mirror.url}/a", f"{mirror.url}/b", nobody], patience=QUICK)
    sentence = str(failure.value)
    for part in ("musan.tar.gz: no mirror", f"/a{PATH}: HTTP 404 Not", f"/b{PATH}: HTTP 503 ", "Connection refused"):
        assert part in sentence
    assert "\n" not in sentence and "--mirror" in sentence and names(tmp_path) == set()


# --- servers with another idea of the file ---


def test_a_server_that_ignores_ranges_starts_over(mirror: Mirror, get: Get, tmp_path: Path) -> None:
    mirror.places[PATH] = Place(MUSAN, drops=[70_000, 90_000], heeds_ranges=False)
    get()
    assert [(asked.start, asked.sent) for asked in mirror.asked] == [(None, 70_000), (70_000, 90_000), (90_000, LENGTH)]
    assert is_whole(tmp_path / "musan")


def test_a_server_that_starts_over_for_ever_is_given_up(mirror: Mirror, get: Get) -> None:
    mirror.places[PATH] = Place(MUSAN, drops=[70_000] * 20, heeds_ranges=False)
    with pytest.raises(DownloadError, match="ended after 70,000"):
        get()
    assert len(mirror.asked) == 1 + QUICK.attempts


def test_a_file_of_another_size_is_noticed_before_it_comes(mirror: Mirror, get: Get, tmp_path: Path) -> None:
    mirror.places[f"/a{PATH}"] = Place(b"<html>not what you wanted</html>")
    told = get(ARCHIVE, "/a", "")
    assert f"its file has 32 bytes, where {LENGTH:,} are expected" in told[0] and is_whole(tmp_path / "musan")


def test_a_mirror_with_another_size_does_not_touch_what_came(mirror: Mirror, get: Get, tmp_path: Path) -> None:
    mirror.places[f"/a{PATH}"] = Place(MUSAN, drops=[60_000, 0, 0, 0])
    mirror.places[f"/b{PATH}"] = Place(b"<html>not what you wanted</html>", heeds_ranges=False)
    told = get(archive_of(MUSAN, size_known=False), "/a", "/b", "")
    assert f"its file has 32 bytes, and musan.tar.gz.partial is of one of {LENGTH:,}" in told[1]
    assert starts(mirror)[-1] == 60_000 and is_whole(tmp_path / "musan")


@pytest.mark.parametrize("changed", ["etag", "size"])
def test_a_file_that_was_replaced_on_its_server_starts_over(
    mirror: Mirror, get: Get, tmp_path: Path, changed: str
) -> None:
    old = bytes(LENGTH) if changed == "etag" else bytes(LENGTH + 5)
    mirror.places[PATH] = Place(old, drops=[80_000, 0, 0, 0], etag='"old"')
    archive = archive_of(MUSAN, size_known=False)
    with pytest.raises(DownloadError):
        get(archive)
    mirror.places[PATH] = Place(MUSAN, etag='"new"' if changed == "etag" else "")
    mirror.asked.clear()
    assert get(archive) == []  # noticed at once, and not by the sum at the end
    assert starts(mirror) == [80_000, None] and is_whole(tmp_path / "musan")


def test_a_partial_file_longer_than_the_file_starts_over(mirror: Mirror, get: Get, tmp_path: Path) -> None:
    (tmp_path / "musan.tar.gz.partial").write_bytes(bytes(LENGTH + 10))
    get(archive_of(MUSAN, size_known=False))
    assert starts(mirror) == [LENGTH + 10, None] and is_whole(tmp_path / "musan")


def test_a_file_that_is_whole_but_of_unknown_size_is_found_out_by_asking(
    mirror: Mirror, get: Get, tmp_path: Path
) -> None:
    (tmp_path / "musan.tar.gz.partial").write_bytes(MUSAN)
    get(archive_of(MUSAN, size_known=False))
    assert starts(mirror) == [LENGTH] and mirror.asked[0].sent == 0 and is_whole(tmp_path / "musan")


def test_a_server_that_says_no_length_is_believed_at_the_end(mirror: Mirror, get: Get, tmp_path: Path) -> None:
    mirror.places[PATH].is_chunked = True
    get(archive_of(MUSAN, size_known=False))
    assert starts(mirror) == [None] and is_whole(tmp_path / "musan")


def test_a_damaged_note_beside_a_partial_file_is_no_obstacle(tmp_path: Path) -> None:
    final = tmp_path / "x"
    with PartialFile(final).open(0, Origin("http://a/x", '"1"', 9)) as file:
        file.write(b"abc")
    assert PartialFile(final).origin == Origin("http://a/x", '"1"', 9) and not PartialFile(final).is_whole
    for text in ("", "[]", '{"unknown": 1}', '{"size": '):
        (tmp_path / "x.partial.json").write_text(text)
        assert PartialFile(final).origin == Origin() and PartialFile(final).size == 3


# --- sums ---


def test_a_wrong_byte_is_thrown_away_and_the_next_mirror_asked(mirror: Mirror, get: Get, tmp_path: Path) -> None:
    mirror.places[f"/a{PATH}"] = Place(WRONG)
    told = get(ARCHIVE, "/a", "")
    assert told == [f"{mirror.url}/a{PATH}: its md5 is {md5(WRONG)}, and {md5(MUSAN)} is expected; it was thrown away"]
    assert [(asked.path, asked.start) for asked in mirror.asked] == [(f"/a{PATH}", None), (PATH, None)]
    assert names(tmp_path) == {"musan"} and is_whole(tmp_path / "musan")


def test_a_wrong_byte_on_every_mirror_leaves_nothing(mirror: Mirror, get: Get, tmp_path: Path) -> None:
    for name in "ab":
        mirror.places[f"/{name}{PATH}"] = Place(WRONG)
    with pytest.raises(DownloadError) as failure:
        get(ARCHIVE, "/a", "/b")
    sentence = str(failure.value)
    assert sentence.count(f"its md5 is {md5(WRONG)}, and {md5(MUSAN)} is expected") == 2
    assert f"/a{PATH}" in sentence and f"/b{PATH}" in sentence and "kept" not in sentence and "\n" not in sentence
    assert len(mirror.asked) == 2 and names(tmp_path) == set()


def test_wrong_bytes_of_an_earlier_run_do_not_blame_the_mirror(mirror: Mirror, get: Get, tmp_path: Path) -> None:
    (tmp_path / "musan.tar.gz.partial").write_bytes(WRONG[:5000])
    get()
    assert starts(mirror) == [5000, None] and is_whole(tmp_path / "musan")


def test_a_mirror_that_started_over_is_blamed_for_all_that_it_sent(mirror: Mirror, get: Get, tmp_path: Path) -> None:
    (tmp_path / "musan.tar.gz.partial").write_bytes(MUSAN[:5000])
    mirror.places[f"/a{PATH}"] = Place(WRONG, heeds_ranges=False)
    get(ARCHIVE, "/a", "")
    assert [asked.path for asked in mirror.asked] == [f"/a{PATH}", PATH] and is_whole(tmp_path / "musan")


CUTS = (0, 70_000, 140_000, LENGTH)
PIECES = [MUSAN[first:last] for first, last in pairwise(CUTS)]
PARTS = replace(
    ARCHIVE,
    files=tuple(RemoteFile(f"c.tar.gza{letter}", md5=md5(data)) for letter, data in zip("abc", PIECES, strict=True)),
)


def serve_parts(mirror: Mirror, pieces: list[bytes], prefix: str = "") -> None:
    for file, data in zip(PARTS.files, pieces, strict=True):
        mirror.places[f"{prefix}/17/{file.name}"] = Place(data)


def test_parts_are_joined_without_a_joined_copy(mirror: Mirror, get: Get, tmp_path: Path) -> None:
    serve_parts(mirror, PIECES)
    get(PARTS, keep=True)
    assert names(tmp_path) == {"musan", *(file.name for file in PARTS.files)} and is_whole(tmp_path / "musan")


def test_only_the_wrong_part_is_fetched_again(mirror: Mirror, get: Get, tmp_path: Path) -> None:
    serve_parts(mirror, [PIECES[0], bytes(70_000), PIECES[2]], "/a")
    serve_parts(mirror, PIECES, "/b")
    told = get(PARTS, "/a", "/b")
    joined = md5(PIECES[0] + bytes(70_000) + PIECES[2])
    assert told == [
        f"{mirror.url}/a/17/c.tar.gzab: its md5 joined is {joined}, and {md5(MUSAN)} is expected; it was thrown away"
    ]
    assert [asked.path for asked in mirror.asked][3:] == ["/b/17/c.tar.gzab"] and is_whole(tmp_path / "musan")


@pytest.mark.parametrize("hints", [None, "0" * 32])
def test_without_a_usable_sum_of_each_part_all_are_fetched_again(
    mirror: Mirror, get: Get, tmp_path: Path, hints: str | None
) -> None:
    archive = replace(PARTS, files=tuple(replace(file, md5=hints) for file in PARTS.files))
    serve_parts(mirror, [PIECES[0], bytes(70_000), PIECES[2]], "/a")
    serve_parts(mirror, PIECES, "/b")
    get(archive, "/a", "/b")
    assert [asked.path[:2] for asked in mirror.asked] == ["/a"] * 3 + ["/b"] * 3 and is_whole(tmp_path / "musan")


def test_wrong_sums_of_parts_do_not_matter_where_the_whole_is_right(mirror: Mirror, get: Get, tmp_path: Path) -> None:
    serve_parts(mirror, PIECES)
    get(replace(PARTS, files=tuple(replace(file, md5="0" * 32) for file in PARTS.files)))
    assert len(mirror.asked) == 3 and is_whole(tmp_path / "musan")


def test_parts_go_on_in_the_middle(mirror: Mirror, get: Get, tmp_path: Path) -> None:
    serve_parts(mirror, PIECES)
    mirror.places["/17/c.tar.gzab"].drops = [20_000, 0, 0, 0]
    with pytest.raises(DownloadError, match=r"c\.tar\.gzab: no mirror"):
        get(PARTS)
    mirror.asked.clear()
    get(PARTS)
    assert [(asked.path[-2:], asked.start) for asked in mirror.asked] == [("ab", 20_000), ("ac", None)]
    assert is_whole(tmp_path / "musan")


# --- room ---


def limit_disk(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**12, 10**12 - free, free))


def test_too_small_a_disk_is_refused_before_anything_comes(
    mirror: Mirror, get: Get, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = replace(ARCHIVE, files=(RemoteFile("musan.tar.gz"),), size=11_090_000_000, unpacked=13_000_000_000)
    limit_disk(monkeypatch, 20_000_000_000)
    with pytest.raises(OutputError) as failure:
        get(archive)
    assert str(failure.value) == (
        f"{tmp_path}: 24.09 GB are needed to download 11.09 GB and unpack 13.00 GB, and 20.00 GB are free; "
        "make room, or name a folder on a larger disk"
    )
    assert mirror.asked == [] and names(tmp_path) == set()


def test_what_came_already_needs_no_room_again(mirror: Mirror, get: Get, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror.places[PATH].drops = [150_000, 0, 0, 0]
    with pytest.raises(DownloadError):
        get()
    limit_disk(monkeypatch, LENGTH - 150_000 + 200_000 - 1)
    with pytest.raises(OutputError, match="make room"):
        get()
    limit_disk(monkeypatch, LENGTH - 150_000 + 200_000)
    get()


def test_the_size_that_the_server_tells_counts(
    mirror: Mirror, get: Get, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit_disk(monkeypatch, 200_000 + LENGTH - 1)
    with pytest.raises(OutputError, match=r"left of musan\.tar\.gz"):
        get(replace(archive_of(MUSAN, size_known=False), size=1000))
    assert "musan.tar.gz.partial" not in names(tmp_path) and len(mirror.asked) == 1


def test_what_an_interrupted_unpacking_left_makes_room(
    get: Get, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = tmp_path / ".musan.unpacking" / "musan"
    left.mkdir(parents=True)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**9, 0, 0 if left.exists() else 10**9))
    get()
    assert is_whole(tmp_path / "musan")


def test_a_zip_tells_itself_what_it_takes(
    mirror: Mirror, get: Get, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = zip_bytes({"RIRS_NOISES/a.wav": bytes(1_000_000)})
    archive = replace(archive_of(data, "r.zip", "RIRS_NOISES"), unpacked=1000)
    mirror.places["/17/r.zip"] = Place(data)
    limit_disk(monkeypatch, 500_000)
    with pytest.raises(OutputError, match="to unpack RIRS_NOISES"):
        get(archive)
    assert names(tmp_path) == {"r.zip"}
    limit_disk(monkeypatch, 1_000_000)
    get(archive)
    assert is_whole(tmp_path / "RIRS_NOISES", {"a.wav": bytes(1_000_000)})


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_a_full_disk_is_not_taken_for_a_dropped_connection(
    mirror: Mirror, get: Get, monkeypatch: pytest.MonkeyPatch
) -> None:
    def open_full(self: PartialFile, start: int, origin: Origin) -> io.FileIO:
        return Path("/dev/full").open("r+b", buffering=0)

    monkeypatch.setattr(PartialFile, "open", open_full)
    with pytest.raises(OutputError, match="cannot be written: No space left on device"):
        get()
    assert len(mirror.asked) == 1


# --- unpacking ---


def evil(name: str, link: str = "", kind: bytes = tarfile.REGTYPE) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, link
    return member


@pytest.mark.parametrize(
    "member",
    [
        evil("../escaped"),
        evil("musan/../../escaped"),
        evil("musan/link", "../../escaped", tarfile.SYMTYPE),
        evil("musan/link", "/etc/passwd", tarfile.SYMTYPE),
        evil("musan/link", "../escaped", tarfile.LNKTYPE),
        evil("musan/pipe", kind=tarfile.FIFOTYPE),
    ],
    ids=lambda member: f"{member.name} {member.linkname}",
)
def test_what_reaches_out_of_a_tar_is_refused(
    mirror: Mirror, get: Get, tmp_path: Path, member: tarfile.TarInfo
) -> None:
    data = tar_bytes("musan", {"a.wav": b"a"}, member)
    mirror.places[PATH] = Place(data)
    inner = tmp_path / "inner"
    with pytest.raises(DownloadError, match=r"musan\.tar\.gz: refused"):
        download([archive_of(data)], inner, [mirror.url], patience=QUICK)
    assert names(tmp_path) == {"inner"} and names(inner) == {"musan.tar.gz"}


@pytest.mark.parametrize("name", ["../escaped", "RIRS_NOISES/../../escaped", "/escaped", "..\\escaped"])
def test_what_reaches_out_of_a_zip_is_refused(mirror: Mirror, tmp_path: Path, name: str) -> None:
    data = zip_bytes({"RIRS_NOISES/a.wav": b"a", name: b"b"})
    mirror.places["/17/r.zip"] = Place(data)
    inner = tmp_path / "inner"
    with pytest.raises(DownloadError, match=r"r\.zip: refused"):
        download([archive_of(data, "r.zip", "RIRS_NOISES")], inner, [mirror.url], patience=QUICK)
    assert names(tmp_path) == {"inner"} and names(inner) == {"r.zip"}


def test_links_that_stay_inside_are_unpacked(mirror: Mirror, get: Get, tmp_path: Path) -> None:
    links = evil("musan/soft", "a.wav", tarfile.SYMTYPE), evil("musan/hard", "musan/a.wav", tarfile.LNKTYPE)
    data = tar_bytes("musan", {"a.wav": b"abc"}, *links)
    mirror.places[PATH] = Place(data)
    get(archive_of(data))
    assert (tmp_path / "musan/soft").read_bytes() == (tmp_path / "musan/hard").read_bytes() == b"abc"


def test_an_interrupted_unpacking_starts_again_without_a_download(
    mirror: Mirror, get: Get, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extract = tarfile.TarFile.extract

    def interrupt(self: tarfile.TarFile, member: tarfile.TarInfo, *arguments: Any, **options: Any) -> None:
        if "id00005" in member.name:
            raise KeyboardInterrupt
        extract(self, member, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(tarfile.TarFile, "extract", interrupt)
        with pytest.raises(KeyboardInterrupt):
            get()
    assert names(tmp_path) == {".musan.unpacking", "musan.tar.gz"}
    (tmp_path / ".musan.unpacking" / "musan" / "left over").touch()
    mirror.asked.clear()
    get()
    assert mirror.asked == [] and names(tmp_path) == {"musan"} and is_whole(tmp_path / "musan")


def test_an_archive_without_its_folder_is_refused_and_a_renamed_one_is_not(
    mirror: Mirror, get: Get, tmp_path: Path
) -> None:
    for content, complaint in (({}, "found nothing"), ({"x/a": b"", "y/a": b""}, "found x, y")):
        data = zip_bytes(content)
        mirror.places["/17/r.zip"] = Place(data)
        with pytest.raises(DownloadError, match=f"expected the folder RIRS_NOISES in it, {complaint}"):
            get(archive_of(data, "r.zip", "RIRS_NOISES"))
        assert names(tmp_path) == {"r.zip"}
        (tmp_path / "r.zip").unlink()
    data = zip_bytes({"other/a.wav": b"a"})
    mirror.places["/17/r.zip"] = Place(data)
    get(archive_of(data, "r.zip", "RIRS_NOISES"))
    assert is_whole(tmp_path / "RIRS_NOISES", {"a.wav": b"a"})


@pytest.mark.parametrize(("name", "folder"), [("musan.tar.gz", "musan"), ("r.zip", "RIRS_NOISES")])
def test_what_is_no_archive_although_its_sum_is_right_is_said(mirror: Mirror, get: Get, name: str, folder: str) -> None:
    mirror.places[f"/17/{name}"] = Place(b"no archive")
    with pytest.raises(DownloadError, match=f"{name}: cannot be unpacked"):
        get(archive_of(b"no archive", name, folder))


# --- the rest of the contract ---


def test_two_downloads_into_one_folder_do_not_mix(mirror: Mirror, get: Get, tmp_path: Path) -> None:
    with acquisition._alone(tmp_path), pytest.raises(OutputError, match="another download is writing there"):
        get()
    assert mirror.asked == []


@pytest.mark.parametrize("url", ["file:///etc", "ftp://a/b", "www.openslr.org/resources"])
def test_a_mirror_must_be_a_web_address(tmp_path: Path, url: str) -> None:
    with pytest.raises(UsageError, match="must be an http or https address"):
        download([ARCHIVE], tmp_path, [url])


def test_the_known_archives_are_well_formed() -> None:
    files: list[RemoteFile] = []
    for collection in COLLECTIONS.values():
        assert [archive.part for archive in collection.archives] == list(range(1, len(collection.archives) + 1))
        for archive in collection.archives:
            files += archive.files
            assert archive.unpacked >= archive.size and len(archive.md5) == 32
            sizes = [file.size for file in archive.files]
            assert None in sizes or sum(size or 0 for size in sizes) == archive.size
            assert archive.is_zip == (archive.folder == "RIRS_NOISES")
    assert len({file.name for file in files}) == len(files) == 6
    assert all(url.startswith("https://") and url.endswith("/resources") for url in MIRRORS)
    assert "research only" in COLLECTIONS["cnceleb"].licence and "CC BY-SA 4.0" in COLLECTIONS["cnceleb"].licence


# --- the command ---

CNCELEB = [tar_bytes("CN-Celeb_flac", {"dev/dev.lst": b"id00010\n"}), tar_bytes("CN-Celeb2_flac", {"spk.lst": b"x\n"})]


@pytest.fixture
def command(
    mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Run `sound-groove download ...` with small archives in the place of the real ones, and no other mirror."""
    monkeypatch.setattr(cli, "VERBS", ("download",))
    monkeypatch.setattr("sound_groove.corpora.downloads.MIRRORS", ())
    one, two = COLLECTIONS["cnceleb"].archives
    half = len(CNCELEB[1]) // 2
    pieces = [CNCELEB[1][:half], CNCELEB[1][half:], b""]
    one = replace(one, files=(RemoteFile(one.files[0].name),), md5=md5(CNCELEB[0]), size=500, unpacked=500)
    two = replace(two, md5=md5(CNCELEB[1]), size=500, unpacked=500)
    monkeypatch.setitem(COLLECTIONS, "cnceleb", replace(COLLECTIONS["cnceleb"], archives=(one, two)))
    mirror.places["/82/cn-celeb_v2.tar.gz"] = Place(CNCELEB[0])
    for file, data in zip(two.files, pieces, strict=True):
        mirror.places[f"/82/{file.name}"] = Place(data)

    def run(*words: object) -> tuple[int, str, str]:
        try:
            status = cli.main(["download", *map(str, words)])
        except SystemExit as stop:
            assert isinstance(stop.code, int)
            status = stop.code
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def test_the_command_leaves_both_parts_and_shows_the_licence(command: Command, mirror: Mirror, tmp_path: Path) -> None:
    out = tmp_path / "raw"
    status, stdout, stderr = command("cnceleb", out, "--mirror", mirror.url + "/nothing", "--mirror", mirror.url)
    assert status == 0 and names(out) == {"CN-Celeb_flac", "CN-Celeb2_flac"}
    assert stdout == f"CN-Celeb_flac: {out / 'CN-Celeb_flac'}\nCN-Celeb2_flac: {out / 'CN-Celeb2_flac'}\n"
    lines = stderr.splitlines()
    assert lines[0].startswith("licence: CN-Celeb1 and CN-Celeb2: OpenSLR states CC BY-SA 4.0")
    assert "may be used commercially" in lines[0]
    assert "/nothing/82/cn-celeb_v2.tar.gz: HTTP 404 Not Found; trying the next mirror" in lines[1]


def test_the_command_fetches_one_part_and_prints_json(command: Command, mirror: Mirror, tmp_path: Path) -> None:
    words = ("cnceleb", tmp_path / "raw", "--part", 2, "--mirror", mirror.url, "--keep", "--json")
    status, stdout, stderr = command(*words)
    answer = json.loads(stdout)
    raw = tmp_path / "raw"
    kept = [str(raw / f"cn-celeb2_v2.tar.gz{ending}") for ending in ("aa", "ab", "ac")]
    assert status == 0 and stdout.count("\n") == 1 and stderr.startswith("licence: ")
    assert answer["corpus"] == "cnceleb" and answer["licence"] == COLLECTIONS["cnceleb"].licence
    assert answer["folders"] == [
        {
            "part": 2,
            "folder": str(raw / "CN-Celeb2_flac"),
            "was_there": False,
            "md5": md5(CNCELEB[1]),
            "archives": kept,
        }
    ]
    mirror.asked.clear()
    status, stdout, stderr = command(*words)
    (folder,) = json.loads(stdout)["folders"]
    assert status == 0 and folder["was_there"] and folder["md5"] is None and folder["archives"] == []
    assert "CN-Celeb2_flac is there already: nothing to do" in stderr and mirror.asked == []


def test_the_command_fails_with_one_sentence(command: Command, mirror: Mirror, tmp_path: Path) -> None:
    mirror.places["/82/cn-celeb_v2.tar.gz"].data = bytes(300)
    status, stdout, stderr = command("cnceleb", tmp_path, "--part", 1, "--mirror", mirror.url)
    assert status == 1 and stdout == ""
    last = stderr.splitlines()[-1]
    assert (
        last.startswith("error: cn-celeb_v2.tar.gz: no mirror") and md5(bytes(300)) in last and md5(CNCELEB[0]) in last
    )
    assert sum(line.startswith("error: ") for line in stderr.splitlines()) == 1 and names(tmp_path) == set()


def test_wrong_use_exits_with_2(command: Command, tmp_path: Path) -> None:
    for words in (("cnceleb", tmp_path, "--part", "3"), ("musan", tmp_path, "--part", "1"), ("cnceleb", "--json")):
        assert command(*words)[0] == 2
    status, _, stderr = command("cnceleb", tmp_path, "--mirror", "nowhere")
    assert status == 2 and "must be an http or https address" in stderr


INTERRUPTED = """
import sys
from dataclasses import replace
from sound_groove.cli import main
from sound_groove.corpora.downloads import COLLECTIONS, RemoteFile
musan = COLLECTIONS["musan"]
small = replace(musan.archives[0], files=(RemoteFile("musan.tar.gz"),), size=1, unpacked=1)
COLLECTIONS["musan"] = replace(musan, archives=(small,))
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
def test_ctrl_c_keeps_what_came_and_says_how_to_go_on(mirror: Mirror, tmp_path: Path) -> None:
    mirror.places[PATH].drops, mirror.places[PATH].stalls = [100_000], True
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, "download", "musan", str(tmp_path), "--mirror", mirror.url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_interrupts,
    )
    wait_until_sent(mirror, 100_000)
    partial = tmp_path / "musan.tar.gz.partial"
    while not partial.exists() or partial.stat().st_size < 100_000:
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=100)
    assert process.returncode == 130 and stdout == ""
    assert stderr.endswith("what was downloaded is kept: the same command goes on from here\ninterrupted\n")
    assert partial.read_bytes() == MUSAN[:100_000]
