"""The clips in examples/: there, as their README and their script name them, and good enough to be compared."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.audio.quality import assess
from sound_groove.audio.reading import load_audio

EXAMPLES = Path(__file__).parents[1] / "examples"
CLIPS = sorted(EXAMPLES.glob("*.flac"))
README = (EXAMPLES / "README.md").read_text(encoding="utf-8")
SCRIPT = (EXAMPLES / "make.sh").read_text(encoding="utf-8")


def voices_of_script() -> list[str]:
    found = re.search(r"^voices=\((.*)\)$", SCRIPT, re.MULTILINE)
    assert found is not None
    return found[1].split()


def sentences_of_script() -> list[str]:
    return re.findall(r'^    "(.*)"$', SCRIPT, re.MULTILINE)


def test_there_are_two_clips_each_of_several_voices() -> None:
    voices, sentences = voices_of_script(), sentences_of_script()
    assert len(set(voices)) >= 3
    assert len(set(sentences)) == 2
    names = {f"{voice}-{number + 1}.flac" for voice in voices for number in range(len(sentences))}
    assert {clip.name for clip in CLIPS} == names


def test_readme_names_each_voice_with_its_clips_and_each_sentence() -> None:
    rows = re.findall(r"^\| `(\w+)` \|.*\| ([^|]*) \|$", README, re.MULTILINE)
    assert [voice for voice, _ in rows] == voices_of_script()
    for voice, clips in rows:
        assert re.findall(r"`([^`]+)`", clips) == [clip.name for clip in CLIPS if clip.name.startswith(f"{voice}-")]
    assert re.findall(r"^\d\. (.*)$", README, re.MULTILINE) == sentences_of_script()


def test_every_clip_that_readme_compares_is_there() -> None:
    named = re.findall(r"examples/(\S+\.flac)", README)
    assert len(named) >= 4
    assert set(named) <= {clip.name for clip in CLIPS}


@pytest.mark.parametrize("clip", CLIPS, ids=lambda path: path.stem)
def test_a_clip_is_good_enough_to_be_compared(clip: Path) -> None:
    info = soundfile.info(clip)
    assert (info.samplerate, info.channels, info.subtype) == (SAMPLE_RATE, 1, "PCM_16")
    assert 3 <= info.duration <= 10
    samples = load_audio(clip)
    assert 0.25 < np.abs(samples).max() < 0.95
    judged = assess(samples, info.samplerate)
    assert judged.warnings == ()
    assert judged.speech_s >= 3


def test_the_folder_is_small() -> None:
    assert sum(file.stat().st_size for file in EXAMPLES.iterdir()) < 1_000_000


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_without_flite_the_script_says_what_to_install(tmp_path: Path) -> None:
    bash = shutil.which("bash")
    assert bash is not None
    command = [bash, str(EXAMPLES / "make.sh"), str(tmp_path)]
    done = subprocess.run(command, env={**os.environ, "PATH": ""}, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == "make.sh: there is no flite; on Debian: apt-get install flite flac\n"
    assert not list(tmp_path.iterdir())
