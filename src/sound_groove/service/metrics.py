"""The service's metrics, in Prometheus's format. No label names a speaker, a file or a key."""

from collections.abc import Iterator
from itertools import accumulate
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from sound_groove.client.records import State
from sound_groove.monitoring import Monitor
from sound_groove.service.logs import RequestRecord
from sound_groove.service.who_jobs import OUTCOMES

if TYPE_CHECKING:
    from sound_groove.service.engine import Engine

PREFIX = "sound_groove"
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
KEY_CODES = ("no_key", "unknown_key", "removed_key", "expired_key", "scope", "over_requests", "over_audio")
HEARD = {
    "speech_s": "Seconds of speech in recordings.",
    "snr_db": "Signal-to-noise ratio of recordings, in dB.",
    "embedding_norm": "Norm of embeddings before they are scaled.",
    "closeness": "Cosine of embeddings with the mean of those of the calibration.",
    "unfamiliarity": "How unlike known speech recordings sound, log odds.",
    "llr": "Log-likelihood ratio of comparisons.",
}
STATES: tuple[State, ...] = ("waiting", "working", "done", "failed")
METHODS = ("GET", "POST", "DELETE", "PUT", "PATCH", "HEAD", "OPTIONS")


class Metrics:
    """Counts what happens, in a registry of its own.

    Args:
        engine: tells what is going on at the moment of asking.
    """

    def __init__(self, engine: "Engine") -> None:
        self._registry = CollectorRegistry()
        labels = ("method", "route")
        self._requests = Counter(
            f"{PREFIX}_requests", "Requests answered.", (*labels, "status"), registry=self._registry
        )
        self._seconds = Histogram(
            f"{PREFIX}_request_seconds", "Time to answer.", labels, buckets=SECONDS, registry=self._registry
        )
        self._refused = Counter(
            f"{PREFIX}_refused_keys", "Requests refused for their key.", ("code",), registry=self._registry
        )
        for code in KEY_CODES:
            self._refused.labels(code)
        self._bytes = Counter(f"{PREFIX}_received_bytes", "Bytes of bodies received.", registry=self._registry)
        self._audio = Counter(f"{PREFIX}_audio_seconds", "Audio heard.", registry=self._registry)
        self._registry.register(_Now(engine))
        ProcessCollector(registry=self._registry)

    def request(self, record: RequestRecord, duration_s: float) -> None:
        """Count a request."""
        method = record.method if record.method in METHODS else "other"  # a client must not make up labels
        self._requests.labels(method, record.route, str(record.status)).inc()
        self._seconds.labels(method, record.route).observe(duration_s)
        if record.code in KEY_CODES:
            self._refused.labels(record.code).inc()
        self._bytes.inc(record.received_bytes)
        self._audio.inc(record.audio_s)

    def text(self) -> bytes:
        """All of it."""
        return generate_latest(self._registry)


class _Now(Collector):
    """What is going on at the moment of asking."""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine

    def collect(self) -> Iterator[Metric]:
        """The gauges, and what others count."""
        engine = self._engine
        yield GaugeMetricFamily(
            f"{PREFIX}_requests_inside", "Requests in work and waiting.", value=engine.admission.inside
        )
        yield GaugeMetricFamily(f"{PREFIX}_requests_in_work", "Requests in work.", value=engine.admission.in_work)
        yield GaugeMetricFamily(f"{PREFIX}_held_bytes", "Bytes of uploads in memory.", value=engine.admission.held)
        yield GaugeMetricFamily(f"{PREFIX}_workers", "Processes that decode.", value=len(engine.workers.pids))
        yield CounterMetricFamily(
            f"{PREFIX}_worker_restarts", "Processes that decode started in another's place.", engine.workers.restarts
        )
        yield GaugeMetricFamily(
            f"{PREFIX}_voiceprints_left_out", "Damaged voiceprints, which are not compared.", value=engine.left_out
        )
        jobs = GaugeMetricFamily(f"{PREFIX}_who_jobs_inside", "Jobs of who speaks when, by state.", labels=["state"])
        for state in STATES:
            jobs.add_metric([state], engine.who.count(state))
        yield jobs
        ended = CounterMetricFamily(f"{PREFIX}_who_jobs", "Jobs of who speaks when, by outcome.", labels=["outcome"])
        for outcome in OUTCOMES:
            ended.add_metric([outcome], engine.who.outcomes[outcome])
        yield ended
        yield CounterMetricFamily(f"{PREFIX}_who_audio_seconds", "Audio decoded for these jobs.", engine.who.audio_s)
        outcomes = CounterMetricFamily(f"{PREFIX}_recordings", "Recordings by what became of them.", labels=["outcome"])
        for outcome in ("heard", "refused", "too_slow", "crashed"):
            outcomes.add_metric([outcome], engine.workers.outcomes[outcome])
        yield outcomes
        yield from _monitored(engine.monitor)


def _monitored(monitor: Monitor) -> Iterator[Metric]:
    """What was heard and compared, in numbers, and whether it is still as it was where the model was calibrated."""
    warnings = CounterMetricFamily(f"{PREFIX}_warnings", "Recordings that were warned of, by code.", labels=["code"])
    for code, count in sorted(monitor.warnings.items()):
        warnings.add_metric([code], count)
    yield warnings
    yield CounterMetricFamily(f"{PREFIX}_comparisons", "Comparisons of one with one.", monitor.comparisons)
    for name, histogram in monitor.histograms.items():
        ends = [*(f"{end:g}" for end in histogram.ends), "+Inf"]
        buckets = list(zip(ends, accumulate(histogram.counts), strict=True))
        yield HistogramMetricFamily(f"{PREFIX}_heard_{name}", HEARD[name], buckets, histogram.total)
    found = monitor.drift()
    if found is not None:
        drift = GaugeMetricFamily(
            f"{PREFIX}_drift",
            "How far the last recordings and comparisons are from those of the calibration; beyond 1 they drifted.",
            labels=["quantity"],
        )
        for shift in found.shifts:
            drift.add_metric([shift.quantity], shift.degree)
        yield drift
