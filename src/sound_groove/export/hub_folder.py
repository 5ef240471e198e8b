"""A folder that can be pushed to a hub as it is: the model in ONNX, a card, and its licence. Nothing is pushed."""

import html
import json
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from sound_groove._version import __version__
from sound_groove.encoder.onnx_content import read_onnx
from sound_groove.encoder.onnx_facts import describe_onnx
from sound_groove.encoder.onnx_model import is_own_file
from sound_groove.errors import CheckpointError, OutputError, UsageError, printable, require_extra
from sound_groove.export.placing import ExportedFile
from sound_groove.files import replaced_bytes, write_text, writing
from sound_groove.hub import USUAL
from sound_groove.pretrained import has_a_name, model_path
from sound_groove.types import ModelIdentity

CARD, LICENCE = "README.md", "LICENSE"
# The hub's words for licences that have an SPDX identifier; of others it is told the name.
_HUB_LICENCES = {
    "Apache-2.0": "apache-2.0",
    "MIT": "mit",
    "BSD-3-Clause": "bsd-3-clause",
    "CC0-1.0": "cc0-1.0",
    "CC-BY-4.0": "cc-by-4.0",
    "CC-BY-SA-4.0": "cc-by-sa-4.0",
    "CC-BY-NC-4.0": "cc-by-nc-4.0",
}
_TAGS = ("speaker-verification", "speaker-recognition", "speaker-embedding", "onnx")


def export_hub(
    model: str | Path,
    out: str | Path | None,
    force: bool = False,
    data: str | None = None,
    licence: str | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> ExportedFile:
    """Write a folder with a model, its card and its licence.

    Args:
        model: a model file or run folder, or a model's name. What is in ONNX already is taken as it is.
        out: the folder to write; it must be named.
        force: replace files that are there.
        data: what it was trained on, in words; what the model says when None.
        licence: of the model; what the model says when None.
        tell: is told what is done next, in a line.

    Returns:
        The folder, and what is in it.

    Raises:
        CheckpointError: the model cannot be used.
        MissingExtraError: something that exporting needs is not installed.
        OutputError: there is something in the folder already, or it cannot be written.
        UsageError: no folder is named, or nobody says what the licence is.
    """
    if out is None:
        raise UsageError("--format hub writes a folder; name it with --out")
    folder = Path(out)
    name = printable(str(folder))
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{name}: is a file; name a folder with --out")
    if has_a_name(folder / USUAL):
        raise OutputError(f"{name}: models that are known by their names are kept there; choose another --out")
    if folder.is_dir() and any(folder.iterdir()) and not force:
        raise OutputError(f"{name}: is not empty; choose another --out, or replace its files with --force")
    if not folder.absolute().parent.is_dir():
        raise OutputError(f"{name}: there is no folder {printable(str(folder.absolute().parent))}")
    with writing(folder), tempfile.TemporaryDirectory(dir=folder.absolute().parent, prefix=".hub-") as place:
        made = Path(place) / "folder"
        made.mkdir()
        written = _write_model(model, made / USUAL, data, licence, tell)
        facts = describe_onnx(made / USUAL)
        if not facts["metadata"].get("licence"):
            raise UsageError(f"{printable(str(model))}: does not say what its licence is; name it with --licence")
        write_text(made / CARD, card(facts))
        write_text(made / LICENCE, licence_note(facts))
        if folder.exists():
            for file in made.iterdir():
                file.replace(folder / file.name)
        else:
            made.replace(folder)
    return replace(written, file=folder)


def _write_model(
    model: str | Path, path: Path, data: str | None, licence: str | None, tell: Callable[[str], None]
) -> ExportedFile:
    """Put the model into a file; as it is where it is in ONNX, but for what is said of it anew."""
    source = model_path(model)
    if source.suffix != ".onnx":
        from sound_groove.export.onnx_file import export_onnx

        return export_onnx(source, path, data=data, licence=licence, tell=tell)
    metadata = read_onnx(source).metadata
    if not is_own_file(metadata):
        raise CheckpointError(f"{printable(str(model))}: is no model of ours; 'sound-groove import' makes one of it")
    said = {key: text for key, text in (("data", data), ("licence", licence)) if text is not None}
    content = _said_anew(source, said) if said else source.read_bytes()
    with writing(path), replaced_bytes(path) as file:
        file.write(content)
    identity = ModelIdentity(metadata["name"], metadata["hash"])
    return ExportedFile(path, identity.name, identity.hash, int(metadata["embedding_size"]), len(content), 1.0, ())


def _said_anew(source: Path, said: dict[str, str]) -> bytes:
    """A file with other entries; the rest of it is what it was."""
    require_extra("Exporting", "train", "torch", "onnx")
    import onnx

    from sound_groove.export.tracing import describe, serialised

    proto = onnx.load(str(source))
    kept = {entry.key: entry.value for entry in proto.metadata_props if entry.key not in said}
    del proto.metadata_props[:]
    describe(proto, {**kept, **said})
    return serialised(proto)


def card(facts: dict[str, Any]) -> str:
    """The card of a model, as a hub shows it.

    Args:
        facts: of the file, by `describe_onnx`.
    """
    said, network, origin = facts["metadata"], facts["network"] or {}, facts["origin"] or {}
    score_map = facts["score_map"] or {}
    fed = (facts["front_end"] or {}).get("description", "its own front end, which trained it")
    fitted = score_map.get("fitted_on", "") if score_map.get("calibrated") else ""
    rows = {
        "model": f"{facts['name']} ({facts['hash'][:12]})",
        "network": network.get("kind", network.get("architecture", "")),
        "embedding": f"{facts['embedding_size']} values",
        "trained on": said.get("data") or "not said",
        "licence": said["licence"],
        "use": said.get("use", ""),
        "features": fed,
        "made of": " ".join(filter(None, (origin.get("file", ""), origin.get("sha256", "")))),
        "calibrated": f"on {fitted}" if fitted else "no: it gives scores, and no verdict",
        "stored in": said.get("precision", "fp32"),
    }
    lines = [
        "---",
        *_front_matter(said["licence"]),
        "---",
        "",
        f"# {_marked(facts['name'])}",
        "",
        "A speaker model in one ONNX file: from recordings at 16 kHz in [-1, 1], `waveform` (B, samples), to",
        "embeddings of unit length, `embedding` (B, D). Features are computed inside. The cosine of two embeddings is",
        "their score.",
        "",
        "| | |",
        "| --- | --- |",
        *(f"| {key} | {_marked(value)} |" for key, value in rows.items() if value),
        "",
        "```bash",
        "sound-groove compare a.wav b.wav --model hf://OWNER/NAME",
        "```",
        "",
        "Recordings played back, cloned voices and synthetic ones are not detected.",
        "",
    ]
    return "\n".join(lines)


def licence_note(facts: dict[str, Any]) -> str:
    """Under which licence a model comes, where its text is, and what was changed.

    Args:
        facts: of the file, by `describe_onnx`.
    """
    said, origin = facts["metadata"], facts["origin"] or {}
    licence = str(said["licence"])
    lines = [f"Licence of {USUAL}: {printable(licence)}"]
    if licence in _HUB_LICENCES:
        lines.append(f"Text: https://spdx.org/licenses/{licence}.html")
    if said.get("use"):
        lines.append(f"Use: {printable(str(said['use']))}")
    if origin:
        source = f"{printable(str(origin.get('file', '')))} (SHA-256 {printable(str(origin.get('sha256', '')))})"
        lines.append(f"Changed: made of {source} by Sound-Groove {__version__}, which put the features in front of it.")
    return "\n".join(lines) + "\n"


def _front_matter(licence: str) -> list[str]:
    """What a hub reads of a card; texts in JSON, which YAML reads as they are."""
    known = _HUB_LICENCES.get(licence)
    named = [
        "license: other",
        f"license_name: {json.dumps(printable(licence), ensure_ascii=False)}",
        f"license_link: {LICENCE}",
    ]
    return [
        *(named if known is None else [f"license: {known}"]),
        "library_name: sound-groove",
        "tags:",
        *(f"- {tag}" for tag in _TAGS),
    ]


def _marked(text: object) -> str:
    """Text that Markdown and HTML show as it is, on one line of a table."""
    escaped = html.escape(printable(" ".join(str(text).split())), quote=False)
    return "".join(f"\\{c}" if c in "\\`*_[]|#" else c for c in escaped)
