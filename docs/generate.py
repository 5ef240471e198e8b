"""Write the pages of this folder that are derived from the code: recipes.md and commands.md.

    python docs/generate.py

The settings come from the schema of the recipe, the options from the parser of the command line; a test fails while a
page differs from what this script gives.
"""

import argparse
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

from sound_groove.cli import build_parser
from sound_groove.recipe.schema import Recipe

FOLDER = Path(__file__).resolve().parent
NOTICE = "<!-- Written by docs/generate.py: change the code or that script, not this page. -->\n"

RECIPES = """# Settings of a recipe

A recipe is a YAML file that says what is trained, on what, and how; ready ones lie in [recipes/](../recipes).
A setting that a recipe leaves out has the default below. The command line overrides the file:

```bash
sound-groove train recipes/cnceleb/6gb.yaml training.epochs=3 data.prepared=data/mine --out outputs/try
```

A setting is named by its section and its name, joined by a dot. The value is read as YAML, so lists are written
`augmentation.snr_db=[5,15]`. An unknown name, a value of the wrong type or out of range is refused before training
starts, and all mistakes are reported at once, each with the nearest valid name. With `--check`, `train` also checks the
data and the machine, says how much is about to be trained, and stops.

The smallest recipe names itself and the prepared corpus:

```yaml
name: mine
data:
  prepared: data/mine
```

The resolved recipe, defaults included, is saved in the run folder as `recipe.yaml` and inside the model file.
"""

COMMANDS = """# The command line

`sound-groove VERB`, or `python -m sound_groove VERB`. Results go to stdout, talk, warnings and progress to stderr;
`--json` prints one JSON object where a program may want to read. Progress bars and colours appear on a terminal only;
the environment variable `NO_COLOR` turns colours off. Elsewhere, `train` says every 30 s how far it is.

| verb | what it does |
| --- | --- |
| `demo` | the whole way on made-up voices, on a CPU, in a few minutes |
| `download` | fetches CN-Celeb, MUSAN or RIRS_NOISES from OpenSLR or a mirror, checks the md5, unpacks; goes on where it was stopped |
| `prepare` | lists a corpus (`cnceleb`, `voxceleb`, `folder`, `list`), checks every file, holds speakers out for validation, joins short utterances if asked; goes on where it was stopped |
| `doctor` | looks a corpus through for [wrong labels](doctor.md) and bad recordings, each with its probability; writes the list that is left |
| `rooms` | simulates the impulse responses of rooms, once, into a folder for `augmentation.room_folder`; needs the `rooms` extra (pyroomacoustics) |
| `crops` | makes the crops of a training [by ear](distillation.md#by-ear), and lets its teacher hear them |
| `recipes` | lists, shows and copies the recipes that come with the package; `train NAME` finds them |
| `train` | trains a recipe into `outputs/<name>/`; validates every epoch on held-out speakers; `--resume` goes on after a kill with the same losses. Switched on by [settings](recipes.md): speed perturbation, noise and rooms (made up, simulated, or MUSAN and RIRS_NOISES), SpecAugment, hard negatives, inter-top-k, an adaptive margin, large-margin tuning as a second stage, mean weights, [distillation](distillation.md), [fine-tuning](fine-tuning.md) |
| `verify` | scores a trial list (VoxCeleb, CN-Celeb or Kaldi format; enrolments of one or several recordings) or pairs of a validation set, never of speakers that the model was trained on; writes EER, minDCF, Cllr and Recall@K with intervals over speakers, where it fails, and [a report](reports.md) with the worst trials to listen to. [Cosine, AS-norm and PLDA](scoring.md) side by side with `--scoring all`; another system on the same trials with `--against`; [Vox1-O, E and H](files.md#voxceleb1) in one go with `--voxceleb1` |
| `calibrate` | fits score, durations, noise and the norm of embeddings to a log-likelihood ratio on pairs of your own, and puts that into the model: [what a score is worth](calibration.md); of two models it makes one |
| `drift` | one sentence: are recordings, or what a service hears, [still like those](monitoring.md) that the model was calibrated on? |
| `adapt` | adapts that to recordings of one's own domain, [without labels or with few](adaptation.md) |
| `compare` | two recordings: same speaker, different, or inconclusive, by what mistakes cost or how many are allowed (`--max-false-accept 0.01`); one against many, and lists of pairs (`--pairs`); `--json` for programs |
| `enroll` | keeps recordings of a speaker under a name, once they are checked to be good enough and of one voice |
| `verify-speaker` | is this recording of that enrolled speaker? As `compare` answers |
| `identify` | who of those enrolled is speaking, or nobody of them; the threshold follows their number |
| `who` | [who spoke when](diarization.md) in a long recording, with the names of those enrolled and what they rest on; RTTM, subtitles, a page |
| `index` | hears an archive of recordings once, for `find`; goes on where it was stopped, and hears only what is new |
| `find` | [where somebody speaks](archive.md) in hundreds of hours: recording, times, evidence, and the false alarms an hour that are promised |
| `listen` | [live](live.md), from the standard input or a microphone: is it one of those named? Told as soon as it is sure, and when the voice changes |
| `speakers` | who is enrolled; `remove` for good, `export`, `import`, `re-embed` by another model, `history` |
| `serve` | the same over HTTP, with a page; `keys` makes, lists and removes the keys to it |
| `embed` | embeddings of many recordings (files, folders, lists, arrays) on all cores or a Ray cluster; goes on where it was stopped |
| `export` | writes a model as one ONNX file, waveform in, unit-length embedding out; compared with the model first. [Also](export.md) for sherpa-onnx (phones, C++, Swift, Java, JavaScript) and as a TensorRT engine |
| `import` | makes a speaker model [of others](import.md), from a file, the list or a hub, one of ours, and finds out how it is to be fed |
| `models` | public models by name: `list`, `get` (downloads, checks, imports), `remove`; then `--model NAME` |
| `info` | what is in a model file, a checkpoint or an ONNX file of ours or of others; the latter without torch |
| `bench` | measured speed of a model on this machine: real-time factor by threads, batch and length; `--json` for programs |

| exit status | meaning |
| --- | --- |
| 0 | done |
| 1 | could not: one sentence on stderr says what, where and what to do |
| 2 | wrong use: an unknown option, a missing argument, a value out of range |
| 3 | `speakers remove`: removed, and remains are left for now; give the command again |
| 10, 11 | `compare --exit-code`: different speakers, inconclusive |
| 130 | interrupted with Ctrl-C |

With `--json`, an error is an object with `error` on stdout besides.

`--debug`, before or after the verb, shows the traceback of an error. `--module M`, before or after it, lets code of a
Python module or file be run for [a network of one's own](own-network.md). What the verbs write is described in
[files.md](files.md), how to read what `verify` finds in [reports.md](reports.md).

`--completion SHELL` prints a script that completes verbs, options and file names, for bash, zsh or fish:

```bash
sound-groove --completion bash > ~/.local/share/bash-completion/completions/sound-groove
sound-groove --completion zsh > ~/.zfunc/_sound-groove     # any folder of $fpath
sound-groove --completion fish > ~/.config/fish/completions/sound-groove.fish
```
"""  # noqa: E501 - rows of a table


def recipes_page() -> str:
    """The page of all settings of a recipe."""
    schema = Recipe.model_json_schema()
    parts = [NOTICE, RECIPES]
    for prefix, model in _sections(Recipe):
        text, meanings = _docstring(model)
        lines = [f"## {prefix or 'Top level'}\n", text, "| setting | type and range | default | meaning |"]
        lines.append("| --- | --- | --- | --- |")
        properties = (schema if model is Recipe else schema["$defs"][model.__name__])["properties"]
        for name, field in model.model_fields.items():
            if _is_section(field.annotation):
                continue
            key = f"{prefix}.{name}" if prefix else name
            default = "required" if field.is_required() else f"`{_value(field.default)}`"
            lines.append(f"| `{key}` | {_range(properties[name])} | {default} | {_cell(meanings[name])} |")
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def _sections(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    """The model and, depth first, the sections in it, each with the prefix of its settings."""
    yield prefix, model
    for name, field in model.model_fields.items():
        key = f"{prefix}.{name}" if prefix else name
        if _is_section(field.annotation):
            yield from _sections(field.annotation, key)
        for listed in get_args(field.annotation):
            if _is_section(listed):
                yield from _sections(listed, f"{key}[]")


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _docstring(model: type[BaseModel]) -> tuple[str, dict[str, str]]:
    """The text above 'Attributes:' and what it says of each attribute."""
    paragraphs, _, listed = (model.__doc__ or "").partition("Attributes:")
    text = "\n".join(line.strip() for line in paragraphs.strip().splitlines())
    meanings = {
        match[1]: " ".join(match[2].split())
        for match in re.finditer(r"^ {8}(\w+): (.*(?:\n {9,}.*)*)", listed, re.MULTILINE)
    }
    return text + "\n", meanings


def _range(schema: dict[str, Any]) -> str:
    """The type of a setting and what values it takes, from its JSON schema."""
    if "anyOf" in schema:
        return " or ".join(_range(choice) for choice in schema["anyOf"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if schema.get("items", {}).get("type") == "object" or "$ref" in schema.get("items", {}):
        return "a list of sections"
    if "items" in schema:
        return f"numbers, each {_range(schema['items']).removeprefix('number ')}"
    if schema["type"] == "object":
        return "names, each with a value"
    if schema["type"] == "array":
        if all(item["type"] == "integer" for item in schema["prefixItems"]):
            return "two whole numbers, from and to"
        positive = any("exclusiveMinimum" in item for item in schema["prefixItems"])
        return "two numbers, low and high" + (", > 0" if positive else "")
    kinds = {"integer": "whole number", "number": "number", "boolean": "true or false", "null": "null"}
    kind = kinds.get(schema["type"], "path" if schema.get("format") == "path" else "text")
    bounds = [
        f"{sign} {schema[word]:,}"
        for word, sign in (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"), ("exclusiveMaximum", "<"))
        if word in schema
    ]
    if "multipleOf" in schema:
        bounds.append(f"a multiple of {schema['multipleOf']}")
    if "pattern" in schema:
        bounds.append("of letters, digits, `.`, `_` and `-`")
    return " ".join([kind, ", ".join(bounds)]).strip()


def _value(value: Any) -> str:
    """A default as it would stand in a recipe."""
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, tuple):
        return f"[{', '.join(f'{item:g}' for item in value)}]"
    return value if isinstance(value, str) and value else json.dumps(value)


def commands_page() -> str:
    """The page of all verbs and their options."""
    parts = [NOTICE, COMMANDS]
    for verb, parser in _parsers(build_parser()):
        lines = [f"## {verb}\n", f"{_plain(parser.description or '')}\n"]
        nested = list(_parsers(parser))
        if nested:
            lines += _nested_options(verb, nested)
        else:
            lines += [f"`{_synopsis(f'sound-groove {verb}', parser)}`\n", _table(_arguments(parser))]
        if parser.epilog:
            lines.append(f"```text\n{parser.epilog.strip()}\n```\n")
        parts.append("\n".join(lines))
    return "\n".join(parts)


def _parsers(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.items()


def _nested_options(verb: str, parsers: Sequence[tuple[str, argparse.ArgumentParser]]) -> Iterator[str]:
    """The arguments of each kind, and, once, those that all kinds have."""
    arguments = [dict(_arguments(parser)) for _, parser in parsers]
    shared = {name: text for name, text in arguments[0].items() if all(name in other for other in arguments)}
    for (name, parser), own in zip(parsers, arguments, strict=True):
        yield f"### {verb} {name}\n\n{_plain(parser.description or '')}\n"
        yield f"`{_synopsis(f'sound-groove {verb} {name}', parser)}`\n"
        if len(own) > len(shared):
            yield _table((name, text) for name, text in own.items() if name not in shared)
    yield f"### Options of every {verb}\n"
    yield _table(shared.items())


def _synopsis(command: str, parser: argparse.ArgumentParser) -> str:
    """The command with what it cannot do without."""
    either = [group for group in parser._mutually_exclusive_groups if group.required]
    grouped = {id(action) for group in either for action in group._group_actions}
    needed = [_written(a) for a in parser._actions if a.required and a.option_strings and id(a) not in grouped]
    needed += [f"({' | '.join(map(_written, group._group_actions))})" for group in either]
    positional = [_written(action) for action in parser._actions if not action.option_strings]
    return " ".join([command, *positional, *needed, "[options]"])


def _arguments(parser: argparse.ArgumentParser) -> Iterator[tuple[str, str]]:
    """Each argument as it is written, and what it means."""
    for action in parser._actions:
        if not isinstance(action, argparse._HelpAction):
            yield _written(action), (action.help or "") % {"default": action.default, "prog": parser.prog}


def _written(action: argparse.Action) -> str:
    metavar = str(action.metavar or "|".join(action.choices or []) or action.dest.upper())
    if not action.option_strings:
        return {"*": f"[{metavar} ...]", "?": f"[{metavar}]"}.get(str(action.nargs), metavar)
    values = {"0": "", "+": f" {metavar} [{metavar} ...]"}.get(str(action.nargs), f" {metavar}")
    return "/".join(action.option_strings) + values


def _table(rows: Iterable[tuple[str, str]]) -> str:
    listed = [f"| `{_cell(name)}` | {_cell(text)} |" for name, text in rows]
    return "\n".join(["| argument | meaning |", "| --- | --- |", *listed]) + "\n"


def _cell(text: str) -> str:
    """Text that cannot end a cell of a table or be taken for markup; text with code in it keeps its angle brackets."""
    text = _plain(text.replace("|", "\\|"))
    return text if "`" in text else text.replace("<", "&lt;").replace("**", "\\*\\*")


def _plain(text: str) -> str:
    """Text whose optional parts, such as [@revision][/file], are not taken for a link; code needs no such care."""
    return text if "`" in text else text.replace("][", "]\\[")


PAGES = {"recipes.md": recipes_page, "commands.md": commands_page}


def main() -> None:
    """Write every page."""
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page(), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
