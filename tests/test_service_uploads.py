"""Uploads: read into memory only, refused before they are too much, and every malformation told in one sentence."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from sound_groove.errors import RequestError
from sound_groove.service.admission import Admission
from sound_groove.service.limits import Limits
from sound_groove.service.uploads import Form, FormShape, read_form

SHAPE = FormShape({"audio": 2}, ("name", "force"))
KIND = "multipart/form-data; boundary=XX"


def part(name: str, content: bytes, file_name: str | None = None) -> bytes:
    shown = "" if file_name is None else f'; filename="{file_name}"'
    return f'--XX\r\nContent-Disposition: form-data; name="{name}"{shown}\r\n\r\n'.encode() + content + b"\r\n"


END = b"--XX--\r\n"


def read(
    body: bytes,
    kind: str = KIND,
    limits: Limits | None = None,
    piece: int = 1000,
    declared: bool = True,
    admission: Admission | None = None,
) -> Form:
    """What becomes of a body that comes in pieces."""
    limits = limits or Limits(workers=1)
    headers = {"content-type": kind, **({"content-length": str(len(body))} if declared else {})}

    async def stream() -> AsyncIterator[bytes]:
        for start in range(0, len(body), piece):
            yield body[start : start + piece]

    async def go() -> Form:
        with (admission or Admission(limits)).entered() as holding:
            return await read_form(headers, stream(), SHAPE, limits, holding)

    return asyncio.run(go())


@pytest.mark.parametrize("piece", [1, 7, 100_000])
def test_a_form_is_read_however_it_is_cut(piece: int) -> None:
    content = bytes(range(256)) * 3 + b"\r\n--X\r\n--XY\r\n"
    body = part("audio", content, "a.wav") + part("name", "Zoë".encode()) + part("audio", b"2") + END
    form = read(body, piece=piece)
    assert [(one.file_name, bytes(one.content)) for one in form.recordings("audio")] == [("a.wav", content), ("", b"2")]
    assert form.text("name") == "Zoë" and form.text("force") is None and form.flag("force") is False


@pytest.mark.parametrize("declared", [True, False])
def test_an_upload_beyond_the_limit_is_refused_before_it_is_held(declared: bool) -> None:
    limits = Limits(workers=1, upload_bytes=10_000)
    admission = Admission(limits)
    with pytest.raises(RequestError, match=r"a request may have 0.01 MB in all") as refused:
        read(part("audio", bytes(20_000)) + END, limits=limits, declared=declared, admission=admission)
    assert refused.value.status == 413
    assert admission.held == 0 and admission.inside == 0


def test_a_header_that_lies_about_the_length_does_not_help() -> None:
    limits = Limits(workers=1, upload_bytes=10_000)
    body = part("audio", bytes(20_000)) + END

    async def stream() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 1000):
            yield body[start : start + 1000]

    async def go() -> None:
        with Admission(limits).entered() as holding:
            await read_form({"content-type": KIND, "content-length": "5"}, stream(), SHAPE, limits, holding)

    with pytest.raises(RequestError) as refused:
        asyncio.run(go())
    assert refused.value.status == 413


@pytest.mark.parametrize("declared", [True, False])
def test_uploads_that_would_fill_the_memory_together_are_refused(declared: bool) -> None:
    limits = Limits(workers=1, upload_bytes=10_000, held_uploads=2)
    admission = Admission(limits)
    admission.hold(15_000)
    with pytest.raises(RequestError, match="too much audio is being worked on") as refused:
        read(part("audio", bytes(9_000)) + END, limits=limits, admission=admission, declared=declared)
    assert refused.value.status == 429 and refused.value.retry_after_s == 1
    assert admission.held == 15_000
    read(part("audio", bytes(4_000)) + END, limits=limits, admission=admission, declared=declared)
    assert admission.held == 15_000


def test_a_body_that_drips_is_refused() -> None:
    limits = Limits(workers=1, reading_s=0.05)

    async def stream() -> AsyncIterator[bytes]:
        yield b"--XX\r\n"
        await asyncio.sleep(30)

    async def go() -> None:
        with Admission(limits).entered() as holding:
            await read_form({"content-type": KIND}, stream(), SHAPE, limits, holding)

    with pytest.raises(RequestError, match=r"more than 0.05 s to arrive") as refused:
        asyncio.run(go())
    assert refused.value.status == 408


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"", "cut off"),
        (b"nothing of the kind", "damaged"),
        (part("audio", b"1"), "cut off"),
        (part("audio", b"1")[:-20], "cut off"),
        (part("other", b"1") + END, "the form has a field 'other'; this address takes audio, name, force"),
        (part("audio", b"1") * 3 + END, "the field 'audio' may come 2 times"),
        (part("name", b"1") * 2 + END, "the field 'name' may come once"),
        (b"--XX\r\nContent-Type: audio/wav\r\n\r\n1\r\n" + END, "a part of the form has no name"),
        (b"--XX\r\n" + b"A: b\r\n" * 50 + b"\r\n1\r\n" + END, "damaged"),
        (b"--XX\r\nA: " + b"b" * 100_000 + b"\r\n\r\n1\r\n" + END, "damaged"),
        (part("name", b"x" * 20_000) + END, "longer than 16,384 bytes"),
        (part("x" * 3000, b"1") + END, "the form has a field 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx'"),
    ],
)
def test_a_malformed_form_is_refused_with_one_sentence(body: bytes, complaint: str) -> None:
    with pytest.raises(RequestError, match=complaint) as refused:
        read(body)
    assert refused.value.status == 400 and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "kind", ["", "application/json", "application/x-www-form-urlencoded", "multipart/mixed; boundary=XX"]
)
def test_another_kind_of_body_is_refused(kind: str) -> None:
    with pytest.raises(RequestError, match="send the recordings as multipart/form-data") as refused:
        read(part("audio", b"1") + END, kind)
    assert refused.value.status == 415


def test_a_form_without_a_boundary_is_refused() -> None:
    with pytest.raises(RequestError, match="has no boundary"):
        read(END, "multipart/form-data")


def test_fields_of_the_wrong_kind_are_told() -> None:
    form = read(part("name", b"\xff") + part("force", b"maybe") + END)
    for ask, complaint in (
        (lambda: form.text("name"), "not UTF-8"),
        (lambda: form.flag("force"), "true or false; 'maybe' was given"),
        (lambda: form.number("force", 0.5), "needs a number; 'maybe' was given"),
        (lambda: form.recordings("audio"), "the form has no recording 'audio'"),
    ):
        with pytest.raises(RequestError, match=complaint) as refused:
            ask()
        assert refused.value.status == 400


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("a.wav", "a.wav"),
        ("../../etc/passwd", "passwd"),
        ("C:\\\\Users\\\\kim\\\\a.wav", "a.wav"),
        ("..", ""),
        ("a\x1b[31m.wav", "a\\x1b[31m.wav"),
        ("x" * 5000, None),
    ],
)
def test_a_clients_name_of_a_file_is_harmless(given: str, shown: str | None) -> None:
    if shown is None:
        with pytest.raises(RequestError, match="damaged"):  # a header line of that length
            read(part("audio", b"1", given) + END)
        return
    (found,) = read(part("audio", b"1", given) + END).recordings("audio")
    assert found.file_name == shown


# --- admission ---


def test_beyond_those_in_work_and_waiting_nobody_comes_in() -> None:
    admission = Admission(Limits(workers=1, waiting=1))
    with admission.entered(), admission.entered(), admission.entered():
        with pytest.raises(RequestError, match="3 requests are in work or waiting; try again") as refused:
            admission.entered().__enter__()
        assert refused.value.status == 429 and refused.value.retry_after_s == 1
    with admission.entered():
        assert admission.inside == 1


def test_nobody_comes_in_while_the_service_stops() -> None:
    admission = Admission(Limits(workers=1))
    admission.stopping = True
    with pytest.raises(RequestError, match="the service is stopping") as refused:
        admission.check_open()
    assert refused.value.status == 503


def test_no_more_requests_are_in_work_than_allowed() -> None:
    async def go() -> int:
        admission, most = Admission(Limits(workers=2)), 0

        async def work() -> None:
            nonlocal most
            async with admission.working():
                most = max(most, admission.in_work)
                await asyncio.sleep(0.001)

        await asyncio.gather(*(work() for _ in range(30)))
        assert admission.in_work == 0
        return most

    assert asyncio.run(go()) == 4
