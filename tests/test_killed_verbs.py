"""What is killed while it writes leaves no partial file under a final name, and does the same when it is given again.

benchmarks/killed_verbs.py kills the whole verbs, at many moments.
"""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from sound_groove.evaluation import results
from sound_groove.export.calibrated_file import write_calibrated
from sound_groove.export.placing import place
from sound_groove.files import replaced
from sound_groove.networks.checkpoint import load_checkpoint
from sound_groove.scoring.calibration import ScoreMap

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs to fork"),
]


def export(model: Path, out: Path) -> None:
    out.mkdir(exist_ok=True)
    place(out / "small.onnx", model.read_bytes(), load_checkpoint(model).identity, 12, 1.0, (2.0,))


def calibrate(model: Path, out: Path) -> None:
    out.mkdir(exist_ok=True)
    write_calibrated(model, ScoreMap(3.0, 1.0, "an example"), out / "calibrated.safetensors")


def verify(model: Path, out: Path) -> None:
    results.check_folder(out, force=False)
    with results.result_folder(out) as folder:
        for name in (results.SCORES, results.METRICS):
            with replaced(folder / name) as file:
                file.write(model.name)


def kill(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def written(folder: Path) -> dict[str, bytes]:
    """What lies under final names."""
    if not folder.is_dir():
        return {}
    return {path.name: path.read_bytes() for path in folder.iterdir() if ".partial" not in path.name}


@pytest.mark.parametrize("work", [export, calibrate, verify])
@pytest.mark.parametrize("moment", ["bytes are written", "it is to take its name"])
def test_a_kill_leaves_nothing_under_a_final_name(
    work: Callable[[Path, Path], None], moment: str, model_path: Path, tmp_path: Path
) -> None:
    work(model_path, tmp_path / "expected")
    child = os.fork()
    if not child:
        try:
            if moment == "bytes are written":
                os.fsync = kill  # type: ignore[assignment]
            Path.replace = Path.rename = kill  # type: ignore[assignment]
            work(model_path, tmp_path / "out")
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert written(tmp_path / "out") == {}
    work(model_path, tmp_path / "out")
    assert written(tmp_path / "out") == written(tmp_path / "expected") != {}
