"""What one client may ask for, and what all of them together may."""

from dataclasses import dataclass, field, replace

from sound_groove.errors import UsageError
from sound_groove.provenance import available_cores

MEGABYTE = 1_000_000  # bytes
SAMPLE_BYTES = 4 * 16_000  # of a second of decoded audio


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
        who_upload_bytes: of a request of who speaks when.
        who_duration_s: of its recording.
        who_jobs: of these that are worked on at once, on one core each.
        who_waiting: that may be on their way in or wait beside them; more are refused.
        who_wait_s: how long such a request waits for its result, before it is told where to ask for it.
        who_kept_s: how long a result can be had that was not waited for.
        who_kept: how many results there may be; the oldest makes room.
        listeners: voices that are heard live at once; more are refused.
        listening_s: of sound over one live connection.
        listening_bytes: of one message of a live connection.
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
    who_upload_bytes: int = 60 * MEGABYTE
    who_duration_s: float = 3600.0
    who_jobs: int = 1
    who_waiting: int = 4
    who_wait_s: float = 10.0
    who_kept_s: float = 600.0
    who_kept: int = 20
    listeners: int = 4
    listening_s: float = 3600.0
    listening_bytes: int = 1_000_000

    @property
    def in_work(self) -> int:
        """Requests in work at once."""
        return 2 * self.workers

    @property
    def request_s(self) -> float:
        """Seconds of audio in one request."""
        return 2 * self.duration_s

    @property
    def of_who(self) -> "Limits":
        """Those of the requests, and of the processes that decode, of who speaks when.

        The upload may take as long for its length as another; decoding, too. A process holds the upload, and the
        samples three times while they are put together.
        """
        longer = max(self.who_upload_bytes / self.upload_bytes, 1.0)
        return replace(
            self,
            upload_bytes=self.who_upload_bytes,
            duration_s=self.who_duration_s,
            decode_s=self.decode_s * max(self.who_duration_s / max(self.duration_s, 1.0), 1.0),
            workers=self.who_jobs,
            reading_s=self.reading_s * longer,
            worker_bytes=self.worker_bytes + 2 * self.who_upload_bytes + int(3 * self.who_duration_s) * SAMPLE_BYTES,
        )

    def __post_init__(self) -> None:
        whole = ("upload_bytes", "recordings", "workers", "held_uploads", "worker_bytes", "worker_recordings")
        for name in (*whole, "who_upload_bytes", "who_jobs", "who_kept", "listeners", "listening_bytes"):
            if getattr(self, name) < 1:
                raise UsageError(f"the limit '{name}' must be at least 1; {getattr(self, name)} was given")
        spans = ("duration_s", "decode_s", "waiting", "reading_s", "grace_s")
        for name in (*spans, "who_duration_s", "who_waiting", "who_wait_s", "who_kept_s", "listening_s"):
            if not getattr(self, name) >= 0:
                raise UsageError(f"the limit '{name}' must be 0 or more; {getattr(self, name)} was given")
