"""`export`, `calibrate` and `verify`, killed at many moments: no file is partial, and given again they do the same.

    python benchmarks/killed_verbs.py [--moments 20]

Each verb runs once to its end, which gives its result and how long it takes. Then it is begun anew in an empty folder
and ended by SIGKILL, at moments that are spread evenly over that time and a little more; what lies there under a final
name must be the result, whole. Then the same command is given again, which must succeed, and leave the result. Model
and voices are made up. The verbs are run in forks of this process, which has loaded the libraries, and traced the
network for `export`, so that the moments fall into what comes after it.

Files of the verbs' own, whose names begin with '.' or end in '.partial', may be left. Times and the checkout's commit,
which an evaluation notes, are not compared.
"""

import argparse
import os
import re
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import onnx
import soundfile
import torch

from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.cli import main as run_command
from sound_groove.networks.architectures import build_network
from sound_groove.networks.checkpoint import load_checkpoint, save_checkpoint
from sound_groove.networks.checkpoint_header import CheckpointHeader
from sound_groove.networks.tensor_groups import NETWORK
from sound_groove.provenance import machine
from sound_groove.recipe.network import NetworkConfiguration
from sound_groove.synthesis.voices import made_up_speaker, speak

SPEAKERS, RECORDINGS, SECONDS = 12, 3, 2.5
FEW = ("-0.wav", "-1.wav")  # the recordings that are calibrated on, each of which is heard in many ways
VERBS = ("export", "calibrate", "verify")
BEYOND = 1.05  # of a verb's time: the last moment
# Of metrics.json and report.html: times, and the checkout's commit, where somebody may commit meanwhile.
VARYING = re.compile(rb'"elapsed_s": \{[^}]*\}|<th>Time</th><td>[^<]*|[0-9a-f]{40}(?:\+changes)?(?=["<])')


def main() -> None:
    """Kill, and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moments", type=int, default=20)
    parser.add_argument("--verbs", nargs="+", choices=VERBS, default=VERBS)
    arguments = parser.parse_args()
    print(f"{machine(threads=1)}\n")
    print("| verb | takes | killed at | before it ended | whole files found | partial | the same when given again |")
    print("| --- | --- | --- | --- | --- | --- | --- |", flush=True)
    load()
    failures = 0
    with tempfile.TemporaryDirectory() as folder:
        for verb in arguments.verbs:
            found = killed(verb, Path(folder) / verb, arguments.moments)
            same, moments = found["same"], arguments.moments
            failures += found["partial"] + moments - same
            print(
                f"| {verb} | {found['milliseconds'] / 1000:.1f} s | {moments} moments | {found['killed']} | "
                f"{found['whole']} | {found['partial']} | {same} of {moments} |",
                flush=True,
            )
    sys.exit(1 if failures else 0)


def load() -> None:
    """Load what the verbs need, so that forks have it."""
    import sound_groove.encoder.onnx_model
    import sound_groove.evaluation.calibrating
    import sound_groove.evaluation.report.page
    import sound_groove.evaluation.report.plots
    import sound_groove.evaluation.verification
    import sound_groove.export.network_file
    import sound_groove.export.onnx_file  # noqa: F401


def killed(verb: str, folder: Path, moments: int) -> Counter[str]:
    """Kill a verb at some moments of its time.

    Args:
        verb: one of VERBS.
        folder: for what it reads and writes; it is made.
        moments: how many.

    Returns:
        How long the verb takes (`milliseconds`); how often it was killed before it had ended (`killed`), files were
        `whole` or `partial`, and the result was the `same` when the command was given again.
    """
    folder.mkdir(parents=True)
    make(folder)
    words = _words(verb, folder)
    if verb == "export":
        _trace_once(folder / "small.safetensors")
    began = time.monotonic()
    assert _ended(words(folder / "whole"), None) == 0
    took = time.monotonic() - began
    expected, found = _files(folder / "whole"), Counter[str]()
    found["milliseconds"] = round(1000 * took)
    for number in range(moments):
        out = folder / f"moment-{number}"
        found["killed"] += _ended(words(out), took * BEYOND * (number + 1) / moments) == -signal.SIGKILL
        for name, content in _files(out).items():
            found["whole" if expected.get(name) == content else "partial"] += 1
        is_done = bool(_files(out))  # then there is nothing left to do, and the verbs refuse to replace it
        is_same = (is_done or _ended(words(out), None) == 0) and _files(out) == expected
        found["same"] += is_same
    return found


def make(folder: Path) -> None:
    """A small model of random weights, voices, and trials of them, for the verbs to read."""
    configuration = NetworkConfiguration(channels=16, embedding_size=12)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build_network(configuration)
    tensors = {NETWORK + name: tensor for name, tensor in network.state_dict().items()}
    save_checkpoint(folder / "small.safetensors", tensors, CheckpointHeader("small", configuration.model_dump()))
    names = {}
    for speaker in range(SPEAKERS):
        for recording in range(RECORDINGS):
            names[name := f"{speaker}-{recording}.wav"] = f"speaker{speaker}"
            soundfile.write(folder / name, speak(made_up_speaker(0, speaker), recording, SECONDS), SAMPLE_RATE)
    pairs = [(one, other) for one in names for other in names if one < other]
    trials = (f"{int(names[one] == names[other])} {one} {other}\n" for one, other in pairs)
    (folder / "trials.txt").write_text("".join(trials))
    few = [pair for pair in pairs if all(name.endswith(FEW) for name in pair)]
    trials = (f"{int(names[one] == names[other])} {one} {other}\n" for one, other in few)
    (folder / "few.txt").write_text("".join(trials))
    (folder / "utt2spk").write_text("".join(f"{name} {speaker}\n" for name, speaker in names.items()))


def _trace_once(model: Path) -> None:
    """Let all exports of this process and its forks have one graph."""
    from sound_groove.export import onnx_file

    graph = onnx_file._trace(load_checkpoint(model)).SerializeToString()
    onnx_file._trace = lambda checkpoint: onnx.ModelProto.FromString(graph)


def _words(verb: str, folder: Path) -> Callable[[Path], list[str]]:
    """The command that gives a result in a folder that may not be there yet."""
    model = str(folder / "small.safetensors")
    listed = ["--audio-root", str(folder), "--threads", "1"]

    def words(out: Path) -> list[str]:
        if verb == "verify":
            options = ["--trials", str(folder / "trials.txt"), "--resamples", "100"]
            return ["verify", "--model", model, *options, *listed, "--out", str(out)]
        out.mkdir(exist_ok=True)
        if verb == "export":
            return ["export", model, "--format", "onnx", "--out", str(out / "small.onnx")]
        options = ["--trials", str(folder / "few.txt"), "--utt2spk", str(folder / "utt2spk"), "--durations", "2"]
        return ["calibrate", model, *listed, *options, "--out", str(out / "calibrated.safetensors")]

    return words


def _ended(words: list[str], after_s: float | None) -> int:
    """The exit status of a command, or the negative number of the signal that ended it, after some seconds at most."""
    child = os.fork()
    if not child:
        status = 70
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os.dup2(1, 2) if after_s is not None else None
            status = run_command(words)
        finally:
            os._exit(status)
    end = None if after_s is None else time.monotonic() + after_s
    while end is not None and time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    if end is not None:
        os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _files(folder: Path) -> Mapping[str, bytes]:
    """The files under final names in a folder, but for what differs from one run to the next."""
    if not folder.is_dir():
        return {}
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.name.startswith(".") and path.suffix != ".partial":
            content = path.read_bytes()
            found[path.name] = _unvarying(content, folder) if path.suffix in (".json", ".html") else content
    return found


def _unvarying(content: bytes, folder: Path) -> bytes:
    return VARYING.sub(b"", content).replace(str(folder).encode(), b"")


if __name__ == "__main__":
    main()
