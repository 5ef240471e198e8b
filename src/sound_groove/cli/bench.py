"""`sound-groove bench`: how fast this machine computes embeddings with a model."""

import argparse
import math
from typing import TYPE_CHECKING

from sound_groove.cli.options import MODEL_HELP, number, positive_integer
from sound_groove.cli.output import show, show_json
from sound_groove.cli.verb import add_verb, ready_for_computing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sound_groove.cli.verb import Verbs
    from sound_groove.encoder.timing import Benchmark, Setting

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

        def announce(setting: "Setting") -> None:
            bar.set_description_str(_words(setting), refresh=False)
            bar.update()

        measured = benchmark(
            lambda threads: SpeakerEncoder.load(model, arguments.device, threads), chosen, arguments.budget, announce
        )
    if arguments.json:
        facts = {"file": str(model), "device": arguments.device, "budget_s": arguments.budget, **measured.as_dict()}
        show_json(facts)
    else:
        show(*_facts(measured, model, arguments.device), "", *_table(measured), "", *_notes(measured))
    return 0


def _words(setting: "Setting") -> str:
    threads = "1 thread" if setting.threads == 1 else f"{setting.threads} threads"
    return f"{threads}, {setting.batch} x {setting.duration_s:g} s"


def _facts(measured: "Benchmark", model: str, device: str) -> "Iterator[str]":
    """What was measured, on what."""
    from sound_groove.pretrained import model_path

    machine, versions = measured.machine, measured.machine["versions"]
    computes = "onnxruntime" if model_path(model).suffix == ".onnx" else "torch"
    software = ", ".join(f"{name} {versions[name]}" for name in ("sound-groove", "python", computes, "numpy"))
    commit, plus, changes = (machine["git_commit"] or "").partition("+")
    checkout = f", commit {commit[:12]}{plus}{changes}" if commit else ""
    cores = "1 core" if machine["cores"] == 1 else f"{machine['cores']} cores"
    yield f"model     {measured.model.label}, {model}"
    yield f"device    {device}"
    yield f"machine   {machine['cpu']} ({machine['instruction_set']}), {cores}, {machine['system']}"
    yield f"software  {software}{checkout}"
    if machine["load_average"] is not None:
        yield f"busy      load average {machine['load_average']:.1f} in the minute before (0: idle)"
    yield f"loading   {measured.first_load_s:.2f} s at first, {measured.load_s:.2f} s again"


def _table(measured: "Benchmark") -> "Iterator[str]":
    """The figures, one line for each setting, with a blank line between numbers of threads."""
    factors = [timing.real_time_factor for timing in measured.timings]
    digits = max(1, 2 - math.floor(math.log10(min(factors))))  # three of the smallest that are not 0
    width = digits + 4
    between = f"{'lowest':>{width}} to {'highest':{width}}"
    yield f"threads  batch  seconds  {'real-time factor':>16}  {between}  {'x real time':>11}  recordings/s  runs"
    previous = measured.timings[0].setting.threads
    for timing in measured.timings:
        setting = timing.setting
        if setting.threads != previous:
            yield ""
        previous = setting.threads
        low, high = (seconds / timing.audio_s for seconds in (min(timing.runs_s), max(timing.runs_s)))
        spread = f"{low:{width}.{digits}f} to {f'{high:.{digits}f}':{width}}"
        yield (
            f"{setting.threads:7}  {setting.batch:5}  {setting.duration_s:7g}  {timing.real_time_factor:16.{digits}f}"
            f"  {spread}  {1 / timing.real_time_factor:11.1f}  {timing.recordings_per_s:12.1f}  {len(timing.runs_s):4}"
        )


def _notes(measured: "Benchmark") -> "Iterator[str]":
    from sound_groove.encoder.timing import embedded_s

    yield "real-time factor: seconds of computing per second of audio, without decoding; the median of the runs"
    for duration_s in sorted({timing.setting.duration_s for timing in measured.timings}):
        if embedded_s(duration_s) != duration_s:
            yield f"a recording of {duration_s:g} s is repeated, and embedded as one of {embedded_s(duration_s):g} s"
