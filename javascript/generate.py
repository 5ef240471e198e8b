"""Writes `src/constants.js`: the numbers on which a verdict depends, from where Python has them.

    python javascript/generate.py [--check]

Each module of Python whose code has a counterpart here gives its constants, under its own name. A test says when the
file is not what this would write.
"""

import argparse
import ast
import importlib
import json
import math
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
TARGET = HERE / "src" / "constants.js"
MODULES = (
    "audio.limits",
    "audio.sample_checks",
    "audio.channels",
    "audio.speech",
    "audio.pauses",
    "audio.filterbank",
    "audio.level",
    "audio.digital_silence",
    "audio.quality",
    "audio.sound_statistics",
    "audio.familiarity",
    "audio.apart",
    "audio.listening",
    "encoder.encoder",
    "encoder.listener",
    "encoder.several_voices",
    "networks.probe",
    "scoring.cosine",
    "scoring.measures",
    "scoring.calibration",
    "scoring.decision",
    "scoring.strength",
    "comparison",
)
HEAD = "// Made by javascript/generate.py from the modules of Python that these are named after. Change it there.\n"


def main() -> None:
    """Write the file, or tell whether it is current."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail where the file is not current")
    text = generated()
    if not parser.parse_args().check:
        TARGET.write_text(text, encoding="utf-8")
    elif TARGET.read_text(encoding="utf-8") != text:
        sys.exit(f"{TARGET.name} is not current: python javascript/generate.py")


def generated() -> str:
    """What the file is to hold."""
    parts = [HEAD]
    for name in MODULES:
        module = importlib.import_module(f"sound_groove.{name}")
        assert module.__file__ is not None
        names = _assigned(Path(module.__file__).read_text(encoding="utf-8"))
        values = {each: _plain(getattr(module, each)) for each in names}
        told = {each: value for each, value in values.items() if value is not None}
        body = "".join(f"  {each}: {json.dumps(value)},\n" for each, value in told.items())
        parts.append(f"\nexport const {name.rpartition('.')[2]} = {{\n{body}}};\n")
    return "".join(parts)


def _assigned(source: str) -> list[str]:
    """The constants that a module gives values itself."""
    found = []
    for node in ast.parse(source).body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        for target in targets:
            names = target.elts if isinstance(target, ast.Tuple) else [target]
            found += [name.id for name in names if isinstance(name, ast.Name) and name.id.isupper()]
    return found


def _plain(value: Any) -> Any:
    """A constant as JSON can hold it; None for what is no number, text or collection of them."""
    if isinstance(value, int) and abs(value) >= 2**53:
        return str(value)  # for BigInt
    if isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, tuple | list):
        parts = [_plain(part) for part in value]
        return None if None in parts else parts
    if isinstance(value, frozenset):
        return _plain(sorted(value))
    if isinstance(value, dict):
        fields = {name: _plain(part) for name, part in value.items()}
        return None if None in fields.values() or not all(isinstance(name, str) for name in fields) else fields
    return None


if __name__ == "__main__":
    main()
