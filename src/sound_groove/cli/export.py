"""`sound-groove export`: a model as a file for other programs."""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from sound_groove.cli.output import say, show, show_json
from sound_groove.cli.verb import add_verb, ready_for_computing

if TYPE_CHECKING:
    from sound_groove.cli.verb import Verbs
    from sound_groove.export.placing import ExportedFile

# Options that not every format has.
FORMATS_WITH = {
    "precision": ("onnx", "safetensors", "tensorrt"),
    "calibrate_on": ("onnx",),
    "check_on": ("onnx",),
    "data": ("onnx", "safetensors", "hub"),
    "licence": ("onnx", "safetensors", "hub"),
    "largest_batch": ("tensorrt",),
    "longest": ("tensorrt",),
}
EXAMPLES = """examples:
  sound-groove export outputs/ecapa512                       outputs/ecapa512/best.onnx
  sound-groove export best.safetensors --out voice.onnx --json
  sound-groove export best.safetensors --precision int8 --calibrate-on recordings/ --out fast.onnx
  sound-groove export campplus.onnx --precision int8 --calibrate-on recordings/ --out fast.onnx    an imported model
  sound-groove export outputs/ecapa512 --format safetensors --precision fp16 --out voice.safetensors
  sound-groove export outputs/ecapa512 --format sherpa-onnx  outputs/ecapa512/best.sherpa.onnx
  sound-groove export outputs/ecapa512 --format tensorrt --precision fp16 --largest-batch 32 --longest 10
  sound-groove export outputs/ecapa512 --format hub --licence MIT --out voice/

onnx takes waveforms (B, samples) at 16 kHz in [-1, 1] and gives unit-length embeddings (B, D); the cosine of two is
the score. fp16 stores its weights in half the size and computes as fp32. int8 computes with 8-bit integers, and is two
to three times as fast on a CPU with instructions for that; it is calibrated on 200 recordings like those that it will
hear. SPEECH is a folder of recordings, or a list with one path a line.

safetensors is the model to be given away: network and centre alone, without the state and the folders of its training.
sherpa-onnx is for that project's SpeakerEmbeddingExtractor, on phones too. tensorrt is an engine for the kind of NVIDIA
GPU that builds it; it needs the 'tensorrt' extra, and this export is not yet run on hardware. hub is a folder with the
model in ONNX, a card (README.md) and its licence, ready to be pushed to a hub of models; nothing is pushed.

A file is compared with the model first, and is not written where they disagree.
"""


def register(verbs: "Verbs") -> None:
    """Add the verb's parser."""
    parser = add_verb(
        verbs,
        "export",
        "a model as a file for ONNX runtimes, sherpa-onnx or TensorRT",
        "Write a model as a file for other programs.",
        EXAMPLES,
        run,
    )
    parser.add_argument("model", metavar="MODEL", help="model file, run folder, or a model's name")
    parser.add_argument(
        "--format",
        choices=("onnx", "safetensors", "sherpa-onnx", "tensorrt", "hub"),
        default="onnx",
        help="what to write (default: onnx)",
    )
    parser.add_argument(
        "--out", metavar="FILE", type=Path, help="file, or with hub folder, to write (default: beside the model)"
    )
    parser.add_argument("--force", action="store_true", help="replace a file that is there")
    parser.add_argument(
        "--precision", choices=("fp32", "fp16", "int8"), help="onnx, and without int8 the others (default: fp32)"
    )
    parser.add_argument("--calibrate-on", metavar="SPEECH", type=Path, help="onnx: speech to calibrate int8 on")
    parser.add_argument("--check-on", metavar="SPEECH", type=Path, help="onnx: speech to compare file and model on")
    parser.add_argument("--data", metavar="TEXT", help="what it was trained on (default: what its recipe says)")
    parser.add_argument(
        "--licence", metavar="TEXT", help="of the data that it was trained on; of hub that of the model"
    )
    parser.add_argument("--largest-batch", metavar="N", type=int, help="tensorrt: most recordings at once (default: 8)")
    parser.add_argument(
        "--longest", metavar="SECONDS", type=float, help="tensorrt: longest recordings, 5 to 60 (default: 60)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Export, and print where the file lies."""
    ready_for_computing()
    from sound_groove.errors import require_extra

    require_extra("Exporting", "train", "torch", "safetensors", "pydantic")
    _refuse_what_the_format_has_not(arguments)
    done = _export(arguments)
    spoken = arguments.check_on or arguments.calibrate_on
    if not done.checked_s:
        say(f"{done.name} ({done.hash[:12]}), {done.bytes / 1e6:.1f} MB, as it is")
    else:
        say(
            f"{done.name} ({done.hash[:12]}), {done.bytes / 1e6:.1f} MB, embeddings of {done.embedding_size} values; "
            f"cosine with the model's at least {done.worst_cosine:.7f} on made-up voices of {done.checked_s[0]:g} to "
            f"{done.checked_s[-1]:g} s" + (f" and recordings of {spoken}" if spoken else "")
        )
    if arguments.json:
        show_json({**asdict(done), "file": str(done.file)}, indent=None)
    else:
        show(str(done.file))
    return 0


def _refuse_what_the_format_has_not(arguments: argparse.Namespace) -> None:
    from sound_groove.errors import UsageError

    for name, formats in FORMATS_WITH.items():
        if getattr(arguments, name) is not None and arguments.format not in formats:
            option = "--" + name.replace("_", "-")
            having = " and ".join(filter(None, (", ".join(formats[:-1]), formats[-1])))
            raise UsageError(f"{option} goes with --format {having}, and the format is {arguments.format}")
    if arguments.format != "onnx" and arguments.precision == "int8":
        raise UsageError(f"--precision int8 goes with --format onnx, and the format is {arguments.format}")


def _export(arguments: argparse.Namespace) -> "ExportedFile":
    from sound_groove.pretrained import model_path

    model, out, force = arguments.model, arguments.out, arguments.force
    if arguments.format == "hub":
        from sound_groove.export.hub_folder import export_hub

        return export_hub(model, out, force, arguments.data, arguments.licence, say)
    if model_path(model, ".safetensors").suffix == ".onnx":
        return _export_smaller(arguments)
    if arguments.format == "sherpa-onnx":
        say("tracing the network, and comparing with the model ...")
        from sound_groove.export.sherpa_file import export_sherpa

        return export_sherpa(model, out, force)
    if arguments.format == "safetensors":
        from sound_groove.export.network_file import export_network

        return export_network(model, out, force, arguments.precision or "fp32", arguments.data, arguments.licence)
    if arguments.format == "tensorrt":
        from sound_groove.export.tensorrt_file import InputSizes, export_tensorrt

        say("building an engine, and comparing with the model ...")
        given = {"largest_batch": arguments.largest_batch, "longest_s": arguments.longest}
        sizes = InputSizes(**{name: value for name, value in given.items() if value is not None})
        return export_tensorrt(model, out, force, arguments.precision or "fp32", sizes)
    from sound_groove.export.onnx_file import export_onnx

    return export_onnx(
        model,
        out,
        force,
        arguments.precision or "fp32",
        arguments.calibrate_on,
        arguments.check_on,
        arguments.data,
        arguments.licence,
        say,
    )


def _export_smaller(arguments: argparse.Namespace) -> "ExportedFile":
    """Of a model that is in ONNX already, such as one that was imported."""
    from sound_groove.errors import UsageError
    from sound_groove.export.smaller_file import export_smaller

    if arguments.format != "onnx" or arguments.data is not None or arguments.licence is not None:
        raise UsageError("a model in ONNX can only be written in fewer bits: --precision, --out and what belongs to it")
    speech = arguments.calibrate_on, arguments.check_on
    return export_smaller(arguments.model, arguments.out, arguments.force, arguments.precision or "fp32", *speech, say)
