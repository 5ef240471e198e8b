"""Embedding beside the event loop: as many recordings at once as there are threads, each on one core.

Recordings are not put together into batches. On a CPU a batch takes as long as its members one after the other, so that
waiting for others would only cost time (docs/service.md has the figures), and an embedding that does not depend on what
else is being asked keeps answers the same to the bit.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

from sound_groove.audio.listening import HeardRecording
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.encoder.listener import Listener
from sound_groove.encoder.several_voices import with_voices
from sound_groove.errors import CheckpointError
from sound_groove.pretrained import model_path
from sound_groove.service.workers import unusable

Result = TypeVar("Result")


class Embedder:
    """One encoder for all requests.

    Attributes:
        encoder: what it embeds with.

    Args:
        encoder: used by several threads at once.
        threads: how many.
    """

    def __init__(self, encoder: SpeakerEncoder, threads: int) -> None:
        self.encoder = encoder
        self._listener = Listener(encoder)
        self._seeking = Listener(encoder, seek=partial(with_voices, encoder=encoder))
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="embedding")

    @classmethod
    def load(cls, model: str | Path, threads: int) -> "Embedder":
        """Load a model; arguments and errors are those of `SpeakerEncoder.load`.

        A network in torch has one state for all threads, so that one recording is embedded at a time, on all cores.
        """
        if model_path(model).suffix == ".onnx":
            return cls(SpeakerEncoder.load(model, threads=1), threads)
        return cls(SpeakerEncoder.load(model, threads=threads), 1)

    async def embed(
        self, heard: HeardRecording, keep_samples: bool = False, seek_voices: bool = False
    ) -> HeardRecording:
        """A recording that a worker heard, with its embedding.

        Args:
            heard: by a worker.
            keep_samples: leave the samples in the record.
            seek_voices: look for more than one voice in it.

        Raises:
            RequestError: 422: the model gives no embedding of it.
        """
        listener = self._seeking if seek_voices else self._listener
        work = partial(listener.hear, heard, keep_samples=keep_samples)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, work)
        except CheckpointError:
            raise unusable(heard.name, "the model gives no embedding of it; record it again", "no_embedding") from None

    async def run(self, work: Callable[[], Result]) -> Result:
        """What some work gives that embeds, done in one of the threads."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    def close(self) -> None:
        """Wait for what is being embedded, and end the threads."""
        self._executor.shutdown(wait=True, cancel_futures=True)
