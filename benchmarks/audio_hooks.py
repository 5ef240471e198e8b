"""Gives schemathesis recordings for the fields that are files, so that it comes to the answers behind the refusals.

SCHEMATHESIS_HOOKS=benchmarks/audio_hooks.py schemathesis run http://127.0.0.1:8000/openapi.json
"""

from pathlib import Path

import schemathesis
from hypothesis import strategies

RECORDINGS = [path.read_bytes() for path in sorted((Path(__file__).parents[1] / "examples").glob("*.flac"))]

schemathesis.openapi.format("binary", strategies.sampled_from(RECORDINGS) | strategies.binary(max_size=200))
