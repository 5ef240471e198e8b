"""What one client may ask for, and what all of them together may."""

from dataclasses import dataclass, field

from sound_groove.errors import UsageError
from sound_groove.provenance import available_cores

MEGABYTE = 1_000_000  # bytes


@dataclass(frozen=True, slots=True)
class Limits:
    """Every bound of the service.

    Attributes:
        upload_bytes: of one request, all its recordings together.
        duration_s: of one recording, by its header, before anything of it is decoded; all recordings of a request may
            last twice as long together.
        decode_s: to decode and judge one recording; then its worker is killed.
        recordings: in one enrolment.
        workers: processes that decode, and threads that embed; twice as many requests are in work at once, so that
            neither wait for the other.
        waiting: requests that may wait beside those in work; more are refused.
        held_uploads: how many uploads of full size may lie in memory at once.
        reading_s: for a request's header, and again for its body, to arrive.
        grace_s: to finish what was accepted when the service is stopped.
        worker_bytes: memory that a worker may take for data.
        worker_recordings: after so many a worker makes room for a fresh one.
    """

    upload_bytes: int = 25 * MEGABYTE
    duration_s: float = 600.0
    decode_s: float = 10.0
    recordings: int = 20
    workers: int = field(default_factory=available_cores)
    waiting: int = 128
    held_uploads: int = 8
    reading_s: float = 30.0
    grace_s: float = 30.0
    worker_bytes: int = 1 << 29
    worker_recordings: int = 1000

    @property
    def in_work(self) -> int:
        """Requests in work at once."""
        return 2 * self.workers

    @property
    def request_s(self) -> float:
        """Seconds of audio in one request."""
        return 2 * self.duration_s

    def __post_init__(self) -> None:
        for name in ("upload_bytes", "recordings", "workers", "held_uploads", "worker_bytes", "worker_recordings"):
            if getattr(self, name) < 1:
                raise UsageError(f"the limit '{name}' must be at least 1; {getattr(self, name)} was given")
        for name in ("duration_s", "decode_s", "waiting", "reading_s", "grace_s"):
            if not getattr(self, name) >= 0:
                raise UsageError(f"the limit '{name}' must be 0 or more; {getattr(self, name)} was given")
