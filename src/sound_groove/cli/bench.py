"""`sound-groove bench`: how fast this machine computes embeddings with a model."""

import argparse
import math
from typing import TYPE_CHECKING, Any

from sound_groove.cli.options import MODEL_HELP, number, positive_integer
from sound_groove.cli.output import show, show_json
from sound_groove.cli.verb import add_verb, ready_for_computing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sound_groove.cli.verb import Verbs
    from sound_groove.encoder.timing import Benchmark, Setting, Timing
    from sound_groove.progress import ProgressBar
    from sound_groove.types import ModelIdentity

EXAMPLES = """examples:
  sound-groove bench best.onnx
  sound-groove bench outputs/ecapa512 --threads 1 2 4 --seconds 3 --batch 1 16
  sound-groove bench best.onnx --budget 5 --json     longer, for figures to be kept

The real-time factor is the time that computing takes for one second of audio, so lower is faster. Features and network
are timed; reading and decoding files is not. Each setting runs once to warm up, then for about a second and at least
three times; the median is shown, with the lowest and the highest. The recordings are noise, which takes as long as
speech. Other programs that run at the same time make the figures worse.
"""


def register(verbs: "Verbs") -> None:
    """Add the verb's parser."""
    parser = add_verb(
        verbs,
        "bench",
        "measured speed of a model on this machine",
        "Measure how fast this machine computes embeddings with a model.",
        EXAMPLES,
        run,
    )
    parser.add_argument("path", nargs="?", metavar="MODEL", help=MODEL_HELP)
    parser.add_argument("--model", metavar="M", help="the same, as other verbs take it")
    parser.add_argument(
        "--threads",
        nargs="+",
        metavar="N",
        type=positive_integer,
        help="CPU threads (default: 1, and as many as cores)",
    )
    parser.add_argument(
        "--seconds",
        nargs="+",
        metavar="S",
        type=number,
        default=[2.0, 5.0, 20.0],
        help="how long a recording lasts, 0.1 to 60 (default: 2 5 20)",
    )
    parser.add_argument(
        "--batch",
        nargs="+",
        metavar="N",
        type=positive_integer,
        default=[1, 8],
        help="recordings that are embedded together (default: 1 8)",
    )
    parser.add_argument(
        "--budget", metavar="S", type=number, default=1.0, help="seconds to measure each setting for (default: 1)"
    )
    parser.add_argument(
        "--device",
        metavar="NAME",
        default="cpu",
        help="where to compute: cpu, cuda:1; an ONNX file also on tensorrt, openvino, openvino:bf16 (default: cpu)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Measure, and print facts and figures."""
    from sound_groove.errors import UsageError

    if arguments.path and arguments.model:
        raise UsageError("the model is named twice: as MODEL and with --model")
    ready_for_computing()
    from sound_groove.encoder.encoder import SpeakerEncoder, default_model
    from sound_groove.encoder.timing import benchmark, default_threads, settings
    from sound_groove.progress import ProgressBar

    model = arguments.path or arguments.model or default_model()
    threads = arguments.threads or default_threads(arguments.device)
    chosen = settings(threads, arguments.batch, arguments.seconds)
    look = "{desc} |{bar:30}| {n_fmt}/{total_fmt}"
    with ProgressBar(desc="loading", total=len(chosen), bar_format=look, leave=False, disable=None) as bar:
        told = _Told(bar, None if arguments.json else (model, arguments.device))
        measured = benchmark(
            lambda threads: SpeakerEncoder.load(model, arguments.device, threads), chosen, arguments.budget, told
        )
    if arguments.json:
        facts = {"file": str(model), "device": arguments.device, "budget_s": arguments.budget, **measured.as_dict()}
        show_json(facts)
    else:
        show("", *_notes(measured))
    return 0


class _Told:
    """Shows what is measured as it is measured: a bar, and the lines of the table unless JSON is to be printed.

    Args:
        bar: of the settings.
        printed: the model's file and the device, to be printed with the machine before the table; None prints nothing.
    """

    def __init__(self, bar: "ProgressBar[Any]", printed: tuple[str, str] | None) -> None:
        self.bar, self.printed = bar, printed
        self.threads: int | None = None  # of the line before

    def begins(self, model: "ModelIdentity", machine: dict[str, Any]) -> None:
        """Say what is measured on what, and print the table's head."""
        if self.printed is not None:
            self._show(*_facts(model, machine, *self.printed), "", _HEAD)

    def measures(self, setting: "Setting") -> None:
        """Let the bar name the setting."""
        self.bar.set_description_str(_words(setting))

    def measured(self, timing: "Timing") -> None:
        """Print a line, with a blank one before it where the number of threads is another."""
        self.bar.update()
        if self.printed is not None:
            is_new = self.threads not in (None, timing.setting.threads)
            self._show(*[""] * is_new, _row(timing))
        self.threads = timing.setting.threads

    def _show(self, *lines: str) -> None:
        self.bar.clear()
        show(*lines, at_once=True)
        self.bar.refresh()


def _words(setting: "Setting") -> str:
    threads = "1 thread" if setting.threads == 1 else f"{setting.threads} threads"
    return f"{threads}, {setting.batch} x {setting.duration_s:g} s"


def _facts(identity: "ModelIdentity", machine: dict[str, Any], model: str, device: str) -> "Iterator[str]":
    """What is measured, on what."""
    from sound_groove.pretrained import model_path

    versions = machine["versions"]
    computes = "onnxruntime" if model_path(model).suffix == ".onnx" else "torch"
    software = ", ".join(f"{name} {versions[name]}" for name in ("sound-groove", "python", computes, "numpy"))
    commit, plus, changes = (machine["git_commit"] or "").partition("+")
    checkout = f", commit {commit[:12]}{plus}{changes}" if commit else ""
    cores = "1 core" if machine["cores"] == 1 else f"{machine['cores']} cores"
    yield f"model     {identity.label}, {model}"
    yield f"device    {device}"
    yield f"machine   {machine['cpu']} ({machine['instruction_set']}), {cores}, {machine['system']}"
    yield f"software  {software}{checkout}"
    if machine["load_average"] is not None:
        yield f"busy      load average {machine['load_average']:.1f} in the minute before (0: idle)"


_HEAD = (
    f"threads  batch  seconds  {'real-time factor':>16}  {'lowest':>10} to {'highest':10}  {'x real time':>11}  "
    "recordings/s  runs"
)


def _row(timing: "Timing") -> str:
    """The figures of a setting, on one line."""
    setting = timing.setting
    low, high = (seconds / timing.audio_s for seconds in (min(timing.runs_s), max(timing.runs_s)))
    return (
        f"{setting.threads:7}  {setting.batch:5}  {setting.duration_s:7g}  {_digits(timing.real_time_factor):>16}"
        f"  {_digits(low):>10} to {_digits(high):10}  {1 / timing.real_time_factor:11.1f}  "
        f"{timing.recordings_per_s:12.1f}  {len(timing.runs_s):4}"
    )


def _digits(value: float) -> str:
    """Three digits that are not leading zeros.

    >>> _digits(0.0123456), _digits(1.5), _digits(250.0)
    ('0.0123', '1.50', '250')
    """
    return f"{value:.{max(0, 2 - math.floor(math.log10(value)))}f}" if value > 0 else "0"


def _notes(measured: "Benchmark") -> "Iterator[str]":
    from sound_groove.encoder.timing import embedded_s

    yield f"the model was loaded in {measured.first_load_s:.2f} s at first, and in {measured.load_s:.2f} s again"
    yield "real-time factor: seconds of computing per second of audio, without decoding; the median of the runs"
    for duration_s in sorted({timing.setting.duration_s for timing in measured.timings}):
        if embedded_s(duration_s) != duration_s:
            yield f"a recording of {duration_s:g} s is repeated, and embedded as one of {embedded_s(duration_s):g} s"
