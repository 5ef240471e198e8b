"""The address at which a voice is heard live: a WebSocket, under limits of its own.

A client opens /v1/listen, says whom to listen for in a text message of JSON, then sends raw samples (16-bit,
little-endian, mono) in binary messages, in whatever pieces, and a text message at the end. Events come back as they are
known, a text message each. Where something is refused, its error comes as a message, and the connection is closed
(1008); what may not connect at all is refused before it is accepted (403).
"""

import asyncio
import json
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from fastapi import APIRouter
from starlette.websockets import WebSocket, WebSocketDisconnect

from sound_groove.errors import CheckpointError, RequestError, UsageError
from sound_groove.json_reading import parse_json
from sound_groove.live.listening import LiveListener
from sound_groove.live.sources import Resampler
from sound_groove.service.engine import Engine, checked
from sound_groove.service.forms import Forms
from sound_groove.service.keys import Key
from sound_groove.service.logs import Log, RequestRecord
from sound_groove.service.uploads import malformed
from sound_groove.types import Samples

PATH = "/v1/listen"
REFUSED = 1008  # the code with which a connection is closed: policy violation
GOING = 1001
MOST_NAMES = 20
LONGEST_BEGINNING = 16_384  # characters of the first message
NUMBERS = {"max_false_accept": 0.01, "max_false_reject": 0.05, "prior": 0.5}


@dataclass(frozen=True, slots=True)
class Beginning:
    """What a client says first.

    Attributes:
        names: of those enrolled to listen for.
        rate: of the samples, in Hz.
        numbers: the errors that are allowed, and the prior.
    """

    names: tuple[str, ...]
    rate: int
    numbers: dict[str, float]

    @classmethod
    def of(cls, text: str) -> "Beginning":
        """What a message says.

        Raises:
            RequestError: 400: it is not understood.
        """
        if len(text) > LONGEST_BEGINNING:
            raise malformed("the first message is too long")
        try:
            said = parse_json(text)
        except ValueError:
            raise malformed("the first message is JSON: names, rate, and what else is wanted") from None
        if not isinstance(said, dict) or not set(said) <= {"names", "rate", *NUMBERS}:
            raise malformed(f"the first message is an object with names, rate, {', '.join(NUMBERS)}")
        names, rate = said.get("names"), said.get("rate", 16_000)
        if not isinstance(names, list) or not 1 <= len(names) <= MOST_NAMES:
            raise malformed(f"'names' is a list of 1 to {MOST_NAMES} names that are enrolled")
        if not all(isinstance(name, str) for name in names) or isinstance(rate, bool) or not isinstance(rate, int):
            raise malformed("'names' are texts, and 'rate' is a whole number of Hz")
        numbers = {name: said.get(name, usual) for name, usual in NUMBERS.items()}
        if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in numbers.values()):
            raise malformed(f"{', '.join(NUMBERS)} are numbers")
        return cls(tuple(names), rate, numbers)


def add_listening(router: APIRouter, forms: Forms, log: Log) -> None:
    """Add this route."""
    engine = forms.engine
    inside = 0

    @router.websocket(PATH)
    async def listen(socket: WebSocket) -> None:
        """Needs scope read."""
        nonlocal inside
        record = RequestRecord("WEBSOCKET", route=PATH, status=101)
        began = asyncio.get_running_loop().time()
        try:
            key = forms.listener(socket.scope["path"], dict(socket.headers), record)
            if inside >= engine.limits.listeners:
                raise RequestError(429, "too_many_listeners", f"{inside} voices are being heard; try again later")
        except RequestError as error:
            record.status, record.code = error.status, error.code
            await socket.close(REFUSED, error.code)  # which is a 403 before it was accepted
            log.request(record, 0.0)
            return
        inside += 1
        try:
            await socket.accept()
            await _Conversation(socket, engine, key, record).held()
        except RequestError as error:
            record.status, record.code = error.status, error.code
            await _told(socket, error)
        except WebSocketDisconnect:
            pass
        except Exception as error:
            record.status = 500
            log.failure(record, error)
            await _told(socket, RequestError(500, "internal", f"this is a bug in Sound-Groove: see id {record.id}"))
        finally:
            inside -= 1
            forms.charge(key, record.audio_s)
            log.request(record, asyncio.get_running_loop().time() - began)


async def _told(socket: WebSocket, error: RequestError) -> None:
    """Say why, and close."""
    try:
        await socket.send_text(json.dumps({"error": {"code": error.code, "message": str(error)}}))
        await socket.close(GOING if error.code == "stopping" else REFUSED)
    except (RuntimeError, WebSocketDisconnect):
        pass  # the client is gone


class _Conversation:
    """One client who is listened to."""

    def __init__(self, socket: WebSocket, engine: Engine, key: Key, record: RequestRecord) -> None:
        self._socket, self._engine, self._key, self._record = socket, engine, key, record

    async def held(self) -> None:
        """Hear until the client ends.

        Raises:
            RequestError: it sent what is not understood, too much, or nothing for too long.
            WebSocketDisconnect: it is gone.
        """
        text = (await self._received()).get("text")
        if text is None:
            raise malformed("the first message is text: whom to listen for, as JSON")
        said = Beginning.of(text)
        resampler = checked(lambda: Resampler(said.rate))
        voices = [replace(await self._engine.sought(name), name=name) for name in said.names]
        encoder = self._engine.embedder.encoder
        try:
            listener = LiveListener(voices, encoder, **said.numbers)
        except UsageError as error:
            raise malformed(str(error)) from None
        half = b""
        while content := (await self._received()).get("bytes"):
            half += content
            whole = len(half) // 2 * 2
            samples = np.frombuffer(half[:whole], "<i2").astype(np.float32) / np.float32(32768)
            half = half[whole:]
            self._record.received_bytes += len(content)
            self._record.audio_s += len(samples) / said.rate
            if self._record.audio_s > self._engine.limits.listening_s:
                most = self._engine.limits.listening_s
                raise RequestError(413, "too_long", f"one connection may send {most:g} s of sound; open another")
            await self._heard(listener, resampler.piece(samples))
        await self._socket.send_text(json.dumps(listener.end().as_dict()))
        await self._socket.close()

    async def _heard(self, listener: LiveListener, samples: Samples) -> None:
        """Hear some samples beside the event loop, and tell what they tell."""
        try:
            events = await self._engine.embedder.run(lambda: listener.add(samples))
        except CheckpointError:
            raise RequestError(422, "unusable_recording", "the model gives no embedding of this sound") from None
        for event in events:
            await self._socket.send_text(json.dumps(event.as_dict()))

    async def _received(self) -> Any:
        """The next message."""
        self._engine.admission.check_open()
        try:
            async with asyncio.timeout(self._engine.limits.reading_s):
                message = await self._socket.receive()
        except TimeoutError:
            seconds = self._engine.limits.reading_s
            raise RequestError(408, "too_slow", f"nothing came for {seconds:g} s") from None
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1005))
        if len(message.get("bytes") or b"") > self._engine.limits.listening_bytes:
            raise RequestError(413, "too_long", f"one message may have {self._engine.limits.listening_bytes:,} bytes")
        return message
