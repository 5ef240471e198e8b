"""`sound-groove import`: a speaker model of others as one of ours."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sound_groove.cli.models import add_mirrors
from sound_groove.cli.output import say, show, show_json
from sound_groove.cli.verb import add_verb, ready_for_computing

if TYPE_CHECKING:
    from sound_groove.cli.verb import Verbs
    from sound_groove.importing.given_source import GivenSource
    from sound_groove.importing.importer import Examined

EXAMPLES = """examples:
  sound-groove import campplus_cn_en_common.pt --out campplus.onnx --licence Apache-2.0
  sound-groove import voxceleb_resnet34_LM.onnx --out resnet34.onnx --speech recordings/
  sound-groove import campplus-zh-en --out campplus.onnx              a model of 'models list', fed as it is known
  sound-groove import hf://owner/name@v1/model.onnx --out m.onnx      one on Hugging Face
  sound-groove import unknown.onnx --check --speech recordings/       try it, and write nothing
  sound-groove import model.onnx --out m.onnx --front-end 3d-speaker
  sound-groove import model.onnx --out m.onnx --front-end wespeaker,mean=kept,window=povey

MODEL is a name that 'models list' shows, hf://owner/name[@revision][/file] of one on Hugging Face (needs the 'hub'
extra), or a file. Licence and training data are said before a download. A model of the list is fed as it is known that
it must be, unless --front-end or --floor say otherwise; a file of such a name is ./NAME.

A file is a speaker model in ONNX, of WeSpeaker, 3D-Speaker, sherpa-onnx, NeMo, SpeechBrain, ReDimNet or anybody, or a
state dictionary (.pt, .ckpt, .safetensors) of a ResNet, ECAPA-TDNN, CAM++, ERes2NetV2 or ReDimNet2 as WeSpeaker,
3D-Speaker, SpeechBrain or ReDimNet2's authors publish it. Nothing of it is executed but its tensors and operators. What
is written takes waveforms and gives unit embeddings, like every model here, with its front end inside: all verbs, the
service and 'export' work with it. It gives scores until 'calibrate' has calibrated it, unless a calibration comes with
the package.

How the model is to be fed is found out on speech: on made-up voices, or on DIR, which holds one folder a speaker; with
20 speakers and more each difference has an interval over speakers. What cannot be told apart is as the file's own
family has it.
"""


def register(verbs: "Verbs") -> None:
    """Add the verb's parser."""
    parser = add_verb(
        verbs,
        "import",
        "a speaker model of others as one of ours",
        "Make a public speaker model one of ours: one ONNX file, waveform in, embedding out.",
        EXAMPLES,
        run,
    )
    parser.add_argument(
        "model",
        metavar="MODEL",
        help="a model in ONNX or a published state dictionary; a name of 'models list'; or hf://owner/name",
    )
    parser.add_argument("--out", metavar="M.onnx", type=Path, help="file to write; needed unless there is --check")
    parser.add_argument("--check", action="store_true", help="try the file, say what was found, and write nothing")
    parser.add_argument("--speech", metavar="DIR", type=Path, help="speech to try it on, one folder a speaker")
    parser.add_argument(
        "--front-end",
        metavar="NAME",
        help="how it is fed: wespeaker, 3d-speaker, nemo, speechbrain, redimnet, waveform",
    )
    parser.add_argument(
        "--floor",
        nargs="?",
        const="step",
        choices=("step", "none"),
        help="lay the energies of one 16-bit step of white noise under the features, so that digital silence does not "
        "mislead the model; 'none' leaves the makers' own (default: none, or as the list has it)",
    )
    parser.add_argument(
        "--name", metavar="TEXT", help="the model's name (default: the list's, the hub's or the file's)"
    )
    parser.add_argument("--data", metavar="TEXT", help="what it was trained on (default: what list or hub say)")
    parser.add_argument("--licence", metavar="TEXT", help="of the model (default: what list, hub or file say)")
    parser.add_argument("--use", metavar="TEXT", help="what alone it may be used for, as 'research only'")
    add_mirrors(parser)
    parser.add_argument("--force", action="store_true", help="replace a file that is there")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Import, and print where the file lies; or try a file, and print what was found."""
    from sound_groove.errors import UsageError, require_extra

    if arguments.check == (arguments.out is not None):
        raise UsageError("name the file to write with --out, or only try the model with --check")
    ready_for_computing()
    require_extra(
        "Importing", "train", "torch", "onnx", "onnxscript", "onnxruntime", "safetensors", "pydantic", "scipy"
    )
    from sound_groove.importing.given_source import given_source
    from sound_groove.importing.importer import writable

    out = None if arguments.out is None else writable(arguments.out, arguments.force)
    with given_source(arguments.model, arguments.mirror, tell=say, keeps=arguments.check) as given:
        return _import(arguments, given, out)


def _import(arguments: argparse.Namespace, given: "GivenSource", out: Path | None) -> int:
    from sound_groove.importing.importer import examine, write_imported

    front_end = arguments.front_end or given.front_end
    floor = given.floor if arguments.floor is None else arguments.floor
    asks = arguments.check or arguments.front_end is not None or arguments.speech is not None
    pinned = given.front_end is not None and not asks
    found = examine(given.path, front_end, floor, arguments.speech, pinned, tell=lambda line: say(f"trying {line} ..."))
    lines = _described(found)
    if out is None:
        _print(arguments.json, _facts(found), lines)
        return 0
    say(*lines, "writing, and comparing with the source ...")
    done = write_imported(
        found,
        out,
        arguments.force,
        given.name if arguments.name is None else arguments.name,
        given.data if arguments.data is None else arguments.data,
        given.licence if arguments.licence is None else arguments.licence,
        given.use if arguments.use is None else arguments.use,
        given.address,
    )
    say(
        f"{done.name} ({done.hash[:12]}), {done.bytes / 1e6:.1f} MB, embeddings of {done.embedding_size} values; "
        f"cosine with the source's at least {done.worst_cosine:.7f} on made-up voices",
        done.calibration_note,
    )
    facts = {"file": str(done.file), "name": done.name, "hash": done.hash, "embedding_size": done.embedding_size}
    _print(arguments.json, {**facts, "bytes": done.bytes, "worst_cosine": done.worst_cosine, **_facts(found)}, [])
    if not arguments.json:
        show(str(done.file))
    return 0


def _described(found: "Examined") -> list[str]:
    """What was found, in words."""
    from sound_groove.importing.finding import described_finding

    source = found.source
    lines = [f"{source.path}: {source.form}, SHA-256 {source.sha256}", f"family: {source.told_by}"]
    lines += [] if found.finding is None else described_finding(found.finding)
    return [*lines, *found.notes, f"fed: {found.front_end.description}"]


def _facts(found: "Examined") -> dict[str, Any]:
    """The same for machines."""
    return {
        "source": {"sha256": found.source.sha256, "form": found.source.form, "told_by": found.source.told_by},
        "front_end": found.front_end.as_dict() | {"description": found.front_end.description},
        "finding": None if found.finding is None else found.finding.as_dict(),
        "notes": list(found.notes),
    }


def _print(as_json: bool, facts: dict[str, Any], lines: list[str]) -> None:
    if as_json:
        show_json(facts)
    else:
        show(*lines)
