"""What `import sound_groove` offers, and what it does not cost."""

import os
import subprocess
import sys
from importlib import import_module

import pytest

import sound_groove
from processes import modules_after

HEAVY = ("torch", "accelerate", "pydantic", "sklearn", "matplotlib", "tensorboard", "onnxruntime")


def test_the_public_names_are_few_sorted_and_there() -> None:
    names = sound_groove.__all__
    assert names == sorted(names) and len(names) <= 1 + 14
    assert set(names) == {
        "Comparison", "DecisionRule", "SoundGrooveError", "SpeakerEncoder", "__version__", "compare", "enroll",
        "find", "identify", "index_archive", "load_audio", "open_gallery", "open_store", "verify_speaker", "who",
    }  # fmt: skip
    for name in names:
        assert getattr(sound_groove, name) is not None
        assert name in dir(sound_groove)


def test_the_names_are_those_of_their_modules() -> None:
    homes = {
        "compare": "comparison",
        "Comparison": "comparison",
        "SpeakerEncoder": "encoder.encoder",
        "load_audio": "audio.reading",
        "DecisionRule": "scoring.decision",
        "enroll": "voiceprints.enrolment",
        "find": "archive.finding",
        "index_archive": "archive.indexing",
        "identify": "voiceprints.identification",
        "open_gallery": "voiceprints.gallery",
        "open_store": "voiceprints.store.opening",
        "verify_speaker": "voiceprints.verification",
        "who": "diarization.who",
    }
    for name, home in homes.items():
        assert getattr(sound_groove, name) is getattr(import_module(f"sound_groove.{home}"), name)


def test_the_names_that_others_rely_on_exist() -> None:
    promised = {
        "networks.features": ["KaldiFbank"],
        "scoring.metrics": ["eer", "min_dcf", "cllr"],
        "errors": ["SoundGrooveError"],
    }
    for home, names in promised.items():
        for name in names:
            assert callable(getattr(import_module(f"sound_groove.{home}"), name))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'sound_groove' has no attribute 'comapre'"):
        _ = sound_groove.comapre


def test_importing_the_package_loads_nothing_beside_itself() -> None:
    loaded = modules_after("import sound_groove")
    assert "sound_groove" in loaded
    assert not {"numpy", "soundfile", "sound_groove.audio.reading", *HEAVY} & loaded


@pytest.mark.parametrize(
    "module",
    [
        "audio.reading",
        "audio.quality",
        "scoring.metrics",
        "scoring.cosine",
        "scoring.calibration",
        "encoder.encoder",
        "comparison",
    ],
)
def test_importing_what_uses_a_model_loads_no_torch(module: str) -> None:
    loaded = modules_after(f"import sound_groove.{module}")
    assert f"sound_groove.{module}" in loaded
    assert not set(HEAVY) & loaded


def test_the_public_names_load_no_torch() -> None:
    loaded = modules_after("from sound_groove import Comparison, SpeakerEncoder, compare, load_audio")
    assert "sound_groove.comparison" in loaded and not set(HEAVY) & loaded


def test_preparing_without_features_loads_no_torch() -> None:
    loaded = modules_after("import sound_groove.cli.prepare, sound_groove.corpora.preparation")
    assert not set(HEAVY) & loaded


def test_downloading_loads_no_torch() -> None:
    loaded = modules_after("import sound_groove.cli.download, sound_groove.corpora.downloads")
    assert "sound_groove.corpora.downloads.acquisition" in loaded and not set(HEAVY) & loaded


def test_help_is_quick_and_loads_neither_numpy_nor_torch() -> None:
    code = "from sound_groove.cli import main\ntry:\n    main(['--help'])\nexcept SystemExit:\n    pass"
    assert not {"numpy", *HEAVY} & modules_after(code)
    durations = []
    for _ in range(3):
        before = os.times()
        subprocess.run([sys.executable, "-m", "sound_groove", "--help"], capture_output=True, check=True)
        after = os.times()
        # processor time, which other work on the machine does not lengthen as it does that of the clock
        spent = after.children_user - before.children_user + after.children_system - before.children_system
        durations.append(spent)
    assert min(durations) < 1.0  # 0.15 s on an idle core; torch alone would take longer than this


def test_the_version_is_that_of_the_distribution() -> None:
    from importlib.metadata import version

    assert sound_groove.__version__ == version("sound-groove")
