"""`sound-groove export`: a model as a file for other programs."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from sound_groove.cli.verb import add_verb, ready_for_computing, say

if TYPE_CHECKING:
    from sound_groove.cli.verb import Verbs

EXAMPLES = """examples:
  sound-groove export outputs/ecapa512                       outputs/ecapa512/best.onnx
  sound-groove export best.safetensors --out voice.onnx --json

The file takes waveforms (B, samples) at 16 kHz in [-1, 1] and gives unit-length embeddings (B, D); the cosine of two is
the score. It is compared with the model first, and is not written where they disagree.
"""


def register(verbs: "Verbs") -> None:
    """Add the verb's parser."""
    parser = add_verb(
        verbs,
        "export",
        "a model as an ONNX file",
        "Write a model as a file for other programs.",
        EXAMPLES,
        run,
    )
    parser.add_argument("model", metavar="MODEL", help="model file or run folder")
    parser.add_argument("--format", choices=("onnx",), default="onnx", help="what to write (default: onnx)")
    parser.add_argument("--out", metavar="FILE", type=Path, help="file to write (default: beside the model)")
    parser.add_argument("--force", action="store_true", help="replace a file that is there")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Export, and print where the file lies."""
    ready_for_computing()
    from sound_groove.errors import require_extra

    require_extra("Exporting", "train", "torch", "safetensors", "pydantic")
    from sound_groove.export.onnx_file import export_onnx

    say("exporting, and comparing with the model ...")
    done = export_onnx(arguments.model, arguments.out, arguments.force)
    say(
        f"{done.name} ({done.hash[:12]}), {done.bytes / 1e6:.1f} MB, embeddings of {done.embedding_size} values; "
        f"cosine with the model's at least {done.worst_cosine:.7f} on made-up voices of "
        f"{done.checked_s[0]:g} to {done.checked_s[-1]:g} s"
    )
    print(json.dumps({**asdict(done), "file": str(done.file)}) if arguments.json else done.file)
    return 0
