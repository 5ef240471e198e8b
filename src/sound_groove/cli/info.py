"""`sound-groove info`: what is in a model file."""

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from sound_groove.cli.output import show, show_json
from sound_groove.cli.verb import add_verb
from sound_groove.errors import printable
from sound_groove.terminal import columns_of, padded

if TYPE_CHECKING:
    from sound_groove.cli.verb import Verbs

EXAMPLES = """examples:
  sound-groove info pretrained                  the model that the package carries
  sound-groove info pretrained --check          does it compute here what it should?
  sound-groove info outputs/ecapa512
  sound-groove info best.safetensors --json     everything, the recipe too
  sound-groove info best.onnx                   an exported model, or one of WeSpeaker, 3D-Speaker or sherpa-onnx
"""

# Only in --json.
LONG = (
    "training.recipe",
    "training.progress",
    "training.speaker_digests",
    "score_map.speakers",
    "score_map.terms",
    "score_map.reference",
    "score_map.baseline.quantities",
    "score_map.baseline.evidence",
    "metadata.centre",
    "network.models",
    "metadata.probe.embedding",
    "front_end_found.answers",
)
LONGEST_TEXT = 400  # characters; what others write into their files may be a whole book
COUNTS = ("parameters", "bytes")


def register(verbs: "Verbs") -> None:
    """Add the verb's parser."""
    parser = add_verb(
        verbs,
        "info",
        "what is in a model file",
        "Say what is in a model file: its network, how it was trained, and what its scores mean.",
        EXAMPLES,
        run,
    )
    parser.add_argument(
        "model", metavar="MODEL", help="model file (.safetensors, .onnx), run folder, or a model's name"
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="also see that it computes here what it computed where it was written, by the probe that it carries",
    )
    parser.add_argument("--device", metavar="NAME", help="where --check computes (default: cpu)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Read the file, and print the facts."""
    from sound_groove.errors import UsageError

    if arguments.device is not None and not arguments.check:
        raise UsageError("--device goes with --check")
    facts = _facts(arguments.model)
    if arguments.check:
        facts["check"] = _check(arguments.model, arguments.device or "cpu")
    if arguments.json:
        show_json(facts)
    else:
        rows = list(_rows(facts))
        width = max(columns_of(name) for name, _ in rows)
        for name, value in rows:
            show(f"{padded(name, width)}  {value}")
    return 0


def _facts(model: str) -> dict[str, Any]:
    from sound_groove.pretrained import model_path

    path = model_path(model)
    if path.suffix == ".onnx":
        from sound_groove.encoder.onnx_facts import describe_onnx

        return describe_onnx(path)
    from sound_groove.errors import require_extra

    require_extra("Reading a .safetensors model", "train", "torch", "safetensors", "pydantic")
    from sound_groove.networks.checkpoint import describe_checkpoint, load_checkpoint

    return describe_checkpoint(load_checkpoint(path))


def _check(model: str, device: str) -> dict[str, Any]:
    """What came of the model's probe on this machine.

    Raises:
        CheckpointError: it does not compute here what it should, or carries no probe.
    """
    from sound_groove.cli.verb import ready_for_computing
    from sound_groove.encoder.encoder import SpeakerEncoder
    from sound_groove.errors import CheckpointError

    ready_for_computing()
    proof = SpeakerEncoder.load(model, device, prove_anew=True).proof
    if proof is None:
        raise CheckpointError(
            f"{printable(model)}: carries no probe, so that nothing can be said of how it is computed here; files that "
            "'sound-groove export' writes now carry one"
        )
    return {"probe_cosine": proof.cosine, "least_cosine": proof.least_cosine, "computed_by": proof.place}


def _rows(facts: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """The facts, one line each, nested names joined by dots; of the long ones at most how many there are."""
    for name, value in facts.items():
        if prefix + name in LONG:
            if isinstance(value, list):
                yield prefix + name, f"{len(value):,}, listed by --json"
            continue
        if isinstance(value, dict):
            yield from _rows(value, f"{prefix}{name}.")
        elif value is not None and value != "":
            yield printable(prefix + name), _shown(value, has_commas=name in COUNTS or prefix == "values.")


def _shown(value: Any, has_commas: bool) -> str:
    """A value on one line."""
    if has_commas and isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list):
        return printable(", ".join(map(str, value)))
    text = f"{value:.6g}" if isinstance(value, float) else " ".join(str(value).split())
    return printable(text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]} ...")
