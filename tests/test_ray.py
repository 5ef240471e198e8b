"""What a Ray cluster gives is what threads give."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sound_groove.archive.index_file import IndexFile
from sound_groove.archive.ray_indexing import on_ray
from sound_groove.cli import main
from sound_groove.encoder.embedding_file import read_embedding_file
from sound_groove.errors import MissingExtraError

EXAMPLES = Path(__file__).parents[1] / "examples"
# One process for both: a cluster on this machine lives as long as the process that started it, which takes seconds.
BOTH = """
from sound_groove.cli import main
failed = main(["embed", "talks", "--out", "there.npz", "--allow-failures", "--ray"])
failed = failed or main(["index", "talks", "--out", "there.index", "--ray"])
raise SystemExit(failed or main(["index", "talks", "--out", "there.index", "--ray"]))
"""


@pytest.mark.service
@pytest.mark.skipif(sys.platform != "linux", reason="Ray is tested on Linux")
def test_a_ray_cluster_gives_what_threads_give(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "talks" / "older").mkdir(parents=True)
    for name in ("awb-1", "slt-2"):
        samples, rate = soundfile.read(EXAMPLES / f"{name}.flac")
        soundfile.write(tmp_path / "talks" / "older" / f"{name}.wav", samples, rate)
    soundfile.write(tmp_path / "talks" / "silence.wav", np.zeros(48000), 16000)
    (tmp_path / "talks" / "bad.wav").write_bytes(b"no audio")
    done = subprocess.run(
        [sys.executable, "-c", BOTH], capture_output=True, text=True, check=False, timeout=240, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "2 heard" in done.stderr and "0 heard, 2 known already" in done.stderr, done.stderr
    assert not re.search("WARNING|INFO|Error", done.stderr), done.stderr
    assert main(["embed", "talks", "--out", "here.npz", "--allow-failures"]) == 0
    assert main(["index", "talks", "--out", "here.index"]) == 0
    here, there = (read_embedding_file(tmp_path / f"{place}.npz") for place in ("here", "there"))
    assert here.names == there.names and len(here.names) > 1
    assert np.allclose(here.embeddings, there.embeddings, atol=1e-5)
    for file in ("here", "there"):
        assert "bad.wav" in (tmp_path / f"{file}.npz.failed.tsv").read_text()
    with IndexFile(tmp_path / "here.index") as ours, IndexFile(tmp_path / "there.index") as theirs:
        assert ours.facts == theirs.facts and theirs.facts.is_complete
        pairs = list(zip(ours.recordings(), theirs.recordings(), strict=True))
    assert sum(len(one.windows) for one, _ in pairs) > 2
    for one, other in pairs:
        assert (one.path, one.state, one.reason) == (other.path, other.state, other.reason)
        assert np.array_equal(one.windows, other.windows)
        assert np.allclose(one.embeddings, other.embeddings, atol=1e-3)


def test_an_index_on_a_ray_cluster_needs_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match="Indexing on a Ray cluster"):
        on_ray("pretrained")
