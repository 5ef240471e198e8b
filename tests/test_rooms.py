"""Simulated rooms: what physics asks of an impulse response, and what a folder of them promises."""

import json
from dataclasses import replace
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import sound_groove.cli as cli
from signals import draws
from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.audio.reading import load_audio
from sound_groove.errors import OutputError, UsageError
from sound_groove.inputs.surroundings import find_rooms, find_surroundings
from sound_groove.recipe.material import AugmentationConfiguration
from sound_groove.synthesis import rooms
from sound_groove.synthesis.effects import reverberate
from sound_groove.synthesis.rooms import DELAY_SAMPLES, Room, draw_room, measured_rt60_s, room_response, simulate_rooms

SPEED_OF_SOUND = 343.0
SMALL = Room(0, "small", (5.0, 4.0, 3.0), 0.3, (1.5, 1.5, 1.5), (3.5, 2.0, 1.2), 1)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def schroeder_t20(response: NDArray[np.float32], start: int) -> float:
    """Time of 60 dB in seconds: a line fitted to the backward integral between -5 and -25 dB."""
    energy = response[start:].astype(np.float64) ** 2
    decay_db = 10 * np.log10(energy[::-1].cumsum()[::-1] / energy.sum())
    part = np.flatnonzero((decay_db < -5) & (decay_db > -25))
    slope = np.polyfit(part / SAMPLE_RATE, decay_db[part], 1)[0]
    return float(-60 / slope)


# Physics


@pytest.mark.parametrize("samples", [20, 60, 150])
def test_a_room_without_echoes_gives_one_impulse_at_the_distance_over_the_speed_of_sound(samples: int) -> None:
    distance = samples * SPEED_OF_SOUND / SAMPLE_RATE
    room = replace(SMALL, absorption=1.0, source_m=(0.5, 0.5, 1.0), microphone_m=(0.5 + distance, 0.5, 1.0))
    response = room_response(room)
    direct = DELAY_SAMPLES + samples
    assert room.direct_sample == direct and np.argmax(np.abs(response)) == direct
    assert response[direct] == pytest.approx(1 / distance, rel=0.01)  # and the 10 Hz that a high-pass takes
    others = np.delete(response, direct)
    assert np.abs(others).max() < 0.01 / distance


def test_the_first_echo_arrives_when_its_path_is_run_and_as_weak_as_it_should_be() -> None:
    """The nearest wall's image: the microphone 1 m from the mouth, both 0.5 m above the floor."""
    room = replace(SMALL, absorption=0.5, source_m=(1.6, 1.6, 0.5), microphone_m=(2.6, 1.6, 0.5))
    response = room_response(room)
    path = np.sqrt(1.0**2 + 1.0**2)
    sample = DELAY_SAMPLES + round(path / SPEED_OF_SOUND * SAMPLE_RATE)
    echo = response[sample - 2 : sample + 3].max()
    amplitude = np.sqrt(0.5 * (1 - rooms.SCATTERING)) / path
    assert echo == pytest.approx(amplitude, rel=0.25)  # between two samples an impulse is lower


def test_more_absorption_dies_away_faster() -> None:
    times = []
    for absorption in (0.2, 0.35, 0.5, 0.7):
        room = replace(SMALL, absorption=absorption)
        response = room_response(room)
        measured = schroeder_t20(response, room.direct_sample + 16)
        assert measured == pytest.approx(room.rt60_s, rel=0.5)  # no formula is nearer
        assert measured_rt60_s(room, response) == pytest.approx(measured, rel=0.15)
        times.append(measured)
    assert times == sorted(times, reverse=True)


def test_a_decay_of_known_length_is_measured() -> None:
    time_s = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    noise = np.random.default_rng(0).standard_normal(SAMPLE_RATE)
    for rt60_s in (0.1, 0.3, 0.8):
        response = (noise * 10 ** (-3 * time_s / rt60_s)).astype(np.float32)
        response[SMALL.direct_sample] = 100.0
        assert measured_rt60_s(SMALL, response) == pytest.approx(rt60_s, rel=0.1)


def test_rooms_are_drawn_within_their_bounds() -> None:
    drawn = [draw_room(3, number) for number in range(300)]
    for index, (size, (low, high)) in enumerate(rooms.SIDES_M.items()):
        part = drawn[index::3]
        assert {room.size for room in part} == {size}
        sides = np.array([room.dimensions_m for room in part])
        assert low <= sides[:, :2].min() and sides[:, :2].max() <= high
        assert sides[:, 2].min() >= 2 and sides[:, 2].max() <= 5
    for room in drawn:
        for point in (room.source_m, room.microphone_m):
            assert all(0.29 < x < side - 0.29 for x, side in zip(point, room.dimensions_m, strict=True))
            assert 0.5 <= point[2] <= 2.0
        assert 0.2 <= room.absorption <= 0.8 and 0.1 <= room.rt60_s <= 1.0 and 0.3 <= room.distance_m <= 5.0
    times, distances = [room.rt60_s for room in drawn], [room.distance_m for room in drawn]
    assert min(times) < 0.12 and max(times) > 0.7 and min(distances) < 0.4 and max(distances) > 4.5


# The folder


def test_a_room_depends_on_seed_and_number_alone(tmp_path: Path) -> None:
    simulate_rooms(tmp_path / "one", 3, seed=5, workers=1)
    assert simulate_rooms(tmp_path / "two", 4, seed=5, workers=2).rooms == 4
    simulate_rooms(tmp_path / "other", 3, seed=6, workers=1)
    one, two, other = (contents(tmp_path / name) for name in ("one", "two", "other"))
    assert set(one) == {"rooms.json"} | {f"{size}/{n:05}.wav" for n, size in enumerate(rooms.SIDES_M)}
    listed = [json.loads(folder.pop("rooms.json")) for folder in (one, two, other)]
    assert len(two) == 4 and all(two[name] == data for name, data in one.items())
    assert all(other[name] != one[name] for name in other)
    assert listed[0]["rooms"] == listed[1]["rooms"][:3] and listed[0]["seed"] == 5
    for room in listed[0]["rooms"]:
        response = load_audio(tmp_path / "one" / room["file"])
        assert np.argmax(np.abs(response)) == room["direct_sample"]


def test_a_run_that_was_stopped_goes_on_with_the_same_command(tmp_path: Path) -> None:
    simulate_rooms(tmp_path, 4)
    whole = contents(tmp_path)
    # As a kill leaves it: a list without rooms, some rooms, and a piece of one.
    stopped = json.loads(whole["rooms.json"])
    (tmp_path / "rooms.json").write_text(json.dumps({**stopped, "rooms": []}), encoding="utf-8")
    (tmp_path / "medium/00001.wav").rename(tmp_path / "medium/00001.wav.partial")
    (tmp_path / "small/00003.wav").unlink()
    times = [(tmp_path / name).stat().st_mtime_ns for name in ("small/00000.wav", "large/00002.wav")]
    assert simulate_rooms(tmp_path, 4, workers=2).simulated == 2
    assert contents(tmp_path) == whole
    assert times == [(tmp_path / name).stat().st_mtime_ns for name in ("small/00000.wav", "large/00002.wav")]


def test_a_disk_that_takes_nothing_is_a_sentence(tmp_path: Path) -> None:
    simulate_rooms(tmp_path, 1)
    (tmp_path / "small/00000.wav").unlink()
    (tmp_path / "small/00000.wav.partial").mkdir()  # where the piece would be written
    with pytest.raises(OutputError, match=r"00000\.wav: cannot be written"):
        simulate_rooms(tmp_path, 1)


def test_the_folder_is_one_that_augmentation_takes(tmp_path: Path) -> None:
    simulate_rooms(tmp_path, 4)
    assert len(find_rooms(tmp_path)) == 4
    settings = AugmentationConfiguration(reverberation_probability=1.0, room_folder=tmp_path)
    reader = find_surroundings(settings, 0)
    assert reader is not None
    responses = reader.read([(0, place) for place in range(5)], 8000).rooms
    assert (responses[:, 0] == 1.0).all()
    speech = 0.1 * torch.randn(5, 8000, generator=draws())
    wet = reverberate(speech, responses)
    assert wet.shape == speech.shape and not torch.allclose(wet, speech, atol=1e-3)
    assert torch.allclose(wet.norm(dim=1), speech.norm(dim=1), rtol=1e-4)


def test_what_lies_in_the_folder_is_not_lost(tmp_path: Path) -> None:
    simulate_rooms(tmp_path / "rooms", 1)
    with pytest.raises(OutputError, match=r"holds other rooms \(seed 0 there, 1 now\); choose another --out"):
        simulate_rooms(tmp_path / "rooms", 1, seed=1)
    before = contents(tmp_path / "rooms")
    assert simulate_rooms(tmp_path / "rooms", 1).simulated == 0
    assert contents(tmp_path / "rooms") == before
    assert simulate_rooms(tmp_path / "rooms", 1, seed=1, force=True).simulated == 1
    (tmp_path / "mine" / "small").mkdir(parents=True)
    for force in (False, True):
        with pytest.raises(OutputError, match="holds small, which was not simulated here"):
            simulate_rooms(tmp_path / "mine", 1, force=force)
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(OutputError, match="is a file; --out must be a folder"):
        simulate_rooms(tmp_path / "file", 1)
    with pytest.raises(UsageError, match="count must be at least 1, not 0"):
        simulate_rooms(tmp_path / "none", 0)


def test_the_verb_prints_the_folder_or_an_object(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = ["rooms", "--out", str(tmp_path / "rooms"), "--count", "2", "--workers", "1"]
    assert cli.main(words) == 0
    out, err = capfd.readouterr()
    assert out == f"{tmp_path / 'rooms'}\n" and "2 rooms, 2 of them new" in err
    assert cli.main([*words, "--json"]) == 0
    made = json.loads(capfd.readouterr().out)
    assert (made["folder"], made["rooms"], made["simulated"]) == (str(tmp_path / "rooms"), 2, 0)
    assert len(made["rt60_s"]) == 3


def test_without_pyroomacoustics_a_sentence_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def without(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name == "pyroomacoustics" else find_spec(name, package)

    monkeypatch.setattr("importlib.util.find_spec", without)
    assert cli.main(["rooms", "--out", str(tmp_path / "rooms")]) == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert err == "error: Simulating rooms needs the 'rooms' extra: pip install --editable '.[rooms]'\n"
    assert not (tmp_path / "rooms").exists()
