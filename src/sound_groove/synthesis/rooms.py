"""Simulated rooms: impulse responses of shoebox rooms, computed once into a folder that training takes its rooms from.

The sizes and the absorption are those of the simulated rooms of RIRS_NOISES (Ko et al. 2017, "A study on data
augmentation of reverberant speech for robust speech recognition", section 3.1). The simulation is pyroomacoustics'
(Scheibler et al. 2018): the image source method (Allen and Berkley 1979) for the first reflections, ray tracing with
scattering walls for the later ones. Images alone, as Ko et al. had them, make the walls perfect mirrors: in a flat room
sound then runs to and fro between far walls, and it died away 2 to 4 times as slowly as Eyring's formula has it
(1.7 s in 40 x 40 x 3 m, and 0.7 s with rays, where the formula has 0.4 s).

Each room is a function of (seed, number): workers and interruptions change nothing.
"""

import math
import shutil
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sound_groove.audio.limits import MINIMUM_DURATION_S, SAMPLE_RATE
from sound_groove.audio.reading import load_audio
from sound_groove.corpora.worker_pool import spread
from sound_groove.errors import OutputError, UsageError, require_extra
from sound_groove.files import read_json, replaced_bytes, write_json, writing
from sound_groove.progress import ProgressBar
from sound_groove.provenance import available_cores
from sound_groove.synthesis.draws import Draw, generator
from sound_groove.types import Samples

SIDES_M = {"small": (1.0, 10.0), "medium": (10.0, 30.0), "large": (30.0, 50.0)}  # length and width of each size of room
HEIGHT_M = (2.0, 5.0)
ABSORPTION = (0.2, 0.8)  # share of the energy that each reflection takes
RT60_S = (0.1, 1.0)  # by Eyring's formula; a room beyond is drawn again
SCATTERING = 0.2  # share of the reflected energy that furnished walls send in all directions
FROM_WALLS_M = 0.3  # nearest that the mouth and the microphone come to a wall
ABOVE_FLOOR_M = (0.5, 2.0)
# From the mouth to the microphone, 0.3 to 5 m. Whole samples: the direct path is then one sample high, and nothing of
# it is lost when a reader cuts the response there.
TRAVEL_SAMPLES = (14, 233)

SPEED_OF_SOUND_M_S = 343.0
DELAY_SAMPLES = 40  # before time 0: half of the library's fractional delay filter, which rings before a reflection
IMAGE_ORDER = 3  # reflections that are images; later ones are rays
RAYS_PER_M3, MOST_RAYS = 20.0, 20_000  # about 20 hits in each 4 ms (Vorländer 2008, eq. 11.12), up to 1,000 m3
LIST_NAME = "rooms.json"
END_DB = 60.0  # a file ends where this much less energy is left than there was


@dataclass(frozen=True)
class Room:
    """A shoebox room with a mouth and a microphone in it.

    Attributes:
        number: counted from 0.
        size: small, medium or large.
        dimensions_m: length, width and height.
        absorption: share of the energy that each reflection takes, 0 to 1.
        source_m: where the mouth is.
        microphone_m: where the microphone is.
        ray_seed: of the rays' directions.
    """

    number: int
    size: str
    dimensions_m: tuple[float, float, float]
    absorption: float
    source_m: tuple[float, float, float]
    microphone_m: tuple[float, float, float]
    ray_seed: int

    @property
    def file(self) -> str:
        """Its file, below the folder of all rooms."""
        return f"{self.size}/{self.number:05}.wav"

    @property
    def distance_m(self) -> float:
        """From the mouth to the microphone."""
        return math.dist(self.source_m, self.microphone_m)

    @property
    def direct_sample(self) -> int:
        """Index of the sample at which the direct path arrives."""
        return DELAY_SAMPLES + round(self.distance_m / SPEED_OF_SOUND_M_S * SAMPLE_RATE)

    @property
    def rt60_s(self) -> float:
        """The reverberation time, in which the level falls by 60 dB, by Eyring's formula (1930).

        >>> room = Room(0, "small", (5.0, 4.0, 3.0), 0.3, (1.0, 1.0, 1.0), (2.0, 1.0, 1.0), 0)
        >>> round(room.rt60_s, 3)  # 24 ln(10) / 343 x 60 m3 / (94 m2 x 0.357)
        0.288
        """
        length, width, height = self.dimensions_m
        surface = 2.0 * (length * width + length * height + width * height)
        loss = -math.log1p(-self.absorption) if self.absorption < 1.0 else math.inf
        return 24.0 * math.log(10.0) / SPEED_OF_SOUND_M_S * math.prod(self.dimensions_m) / (surface * loss)


def draw_room(seed: int, number: int) -> Room:
    """A room; one after the other they are small, medium and large.

    Args:
        seed: of all rooms.
        number: counted from 0.
    """
    draw = generator(seed, Draw.SIMULATED_ROOM, number)
    size = list(SIDES_M)[number % len(SIDES_M)]
    while True:
        dimensions = np.array([draw.uniform(*SIDES_M[size]), draw.uniform(*SIDES_M[size]), draw.uniform(*HEIGHT_M)])
        low = np.array([FROM_WALLS_M, FROM_WALLS_M, ABOVE_FLOOR_M[0]])
        high = np.minimum(dimensions - FROM_WALLS_M, [math.inf, math.inf, ABOVE_FLOOR_M[1]])
        absorption = draw.uniform(*ABSORPTION)
        microphone = draw.uniform(low, high)
        direction = draw.standard_normal(3)
        travel = draw.integers(*TRAVEL_SAMPLES, endpoint=True) / SAMPLE_RATE * SPEED_OF_SOUND_M_S
        source = microphone + direction / np.linalg.norm(direction) * travel
        ray_seed = int(draw.integers(2**32))
        room = Room(number, size, _point(dimensions), absorption, _point(source), _point(microphone), ray_seed)
        if ((low <= source) & (source <= high)).all() and RT60_S[0] <= room.rt60_s <= RT60_S[1]:
            return room


def room_response(room: Room) -> Samples:
    """The impulse response of a room (samples,), of amplitude 1 at 1 m: the direct path is 1 / distance high.

    Time 0, when the mouth makes its sound, is the sample DELAY_SAMPLES. At least as long as a recording must be.
    """
    import pyroomacoustics
    from pyroomacoustics import parameters, random

    # Threads and seed are global to the library. One thread, because the sums of several are rounded otherwise.
    threads = parameters.constants.get("num_threads")
    parameters.constants.set("num_threads", 1)
    random.seed(numpy=room.ray_seed, libroom=room.ray_seed)
    try:
        material = pyroomacoustics.Material(room.absorption, SCATTERING)
        space = pyroomacoustics.ShoeBox(
            room.dimensions_m, fs=SAMPLE_RATE, materials=material, max_order=IMAGE_ORDER if room.absorption < 1.0 else 0
        )
        space.set_sound_speed(SPEED_OF_SOUND_M_S)
        if room.absorption < 1.0:
            space.set_ray_tracing(n_rays=int(min(RAYS_PER_M3 * math.prod(room.dimensions_m), MOST_RAYS)))
        space.add_source(room.source_m)
        space.add_microphone(room.microphone_m)
        space.compute_rir()
        response = np.asarray(space.rir[0][0])
    finally:
        parameters.constants.set("num_threads", threads)
    left = np.cumsum(response[::-1] ** 2)[::-1]  # energy still to come
    end = int(np.count_nonzero(left > left[0] * 10.0 ** (-END_DB / 10.0)))
    shortest = math.ceil(MINIMUM_DURATION_S * SAMPLE_RATE)
    return np.pad(response[:end], (0, max(0, shortest - end))).astype(np.float32)


def measured_rt60_s(room: Room, response: Samples) -> float:
    """The reverberation time of a response, from the fall between 5 and 25 dB (T20 of ISO 3382; Schroeder 1965).

    Without the direct path: with a microphone near the mouth nearly all energy is in it.
    """
    tail = response[room.direct_sample + 16 :].astype(np.float64)  # 1 ms behind it
    left = np.cumsum(tail[::-1] ** 2)[::-1]
    after_5_db, after_25_db = (np.count_nonzero(left > left[0] * 10.0 ** (-level / 10.0)) for level in (5.0, 25.0))
    return 3.0 * float(after_25_db - after_5_db) / SAMPLE_RATE


class RoomJob(NamedTuple):
    """A room to be simulated in a worker process."""

    folder: str
    seed: int
    number: int


@dataclass(frozen=True)
class SimulatedRooms:
    """What `simulate_rooms` left.

    Attributes:
        folder: that of `augmentation.room_folder`.
        rooms: how many there are.
        simulated: how many of them were not there before.
        rt60_s: shortest, median and longest measured reverberation time.
        megabytes: of all files.
    """

    folder: Path
    rooms: int
    simulated: int
    rt60_s: tuple[float, float, float]
    megabytes: float

    def as_dict(self) -> dict[str, Any]:
        """For a program."""
        return {**asdict(self), "folder": str(self.folder), "rt60_s": list(self.rt60_s)}


def simulate_rooms(
    out: str | Path, count: int = 600, seed: int = 0, *, workers: int | None = None, force: bool = False
) -> SimulatedRooms:
    """Simulate rooms into a folder, a third of them small, a third medium and a third large.

    Leaves small/, medium/ and large/ with a wav file for each room, and rooms.json. A second call goes on where the
    first one stopped.

    Args:
        out: the folder to write.
        count: how many rooms.
        seed: of every draw, 0 or more.
        workers: number of processes; as many as there are cores when None. It changes nothing but the time.
        force: start over, whatever rooms `out` holds.

    Raises:
        MissingExtraError: pyroomacoustics is not installed.
        OutputError: `out` holds something else, or cannot be written.
        UsageError: an argument is out of its range.
    """
    for name, value, least in (("count", count, 1), ("seed", seed, 0), ("workers", workers or 1, 1)):
        if value < least:
            raise UsageError(f"{name} must be at least {least}, not {value}")
    require_extra("Simulating rooms", "rooms", "pyroomacoustics")
    folder, rooms = Path(out).absolute(), [draw_room(seed, number) for number in range(count)]
    about = {"seed": seed, "count": count, "sample_rate": SAMPLE_RATE, "pyroomacoustics": version("pyroomacoustics")}
    _open_folder(folder, about, force)
    jobs = [RoomJob(str(folder), seed, room.number) for room in rooms if not (folder / room.file).exists()]
    with ProgressBar(total=count, initial=count - len(jobs), desc="simulating", unit="room", disable=None) as bar:
        at_once = min(workers or available_cores(), max(len(jobs), 1))
        for _, failure in spread(_write_room, jobs, at_once, _crashed, loaded=("pyroomacoustics", "scipy.io.wavfile")):
            if failure:
                raise OutputError(failure)
            bar.update()
    facts = [_facts(folder, room) for room in rooms]
    write_json(folder / LIST_NAME, {**about, "rooms": facts})
    low, median, high = np.quantile([room["measured_rt60_s"] for room in facts], (0.0, 0.5, 1.0)).tolist()
    size = sum((folder / room.file).stat().st_size for room in rooms)
    return SimulatedRooms(folder, count, len(jobs), (low, median, high), size / 1e6)


def _open_folder(folder: Path, about: dict[str, Any], force: bool) -> None:
    """Make the folder of these rooms, or check that it is theirs."""
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder}: is a file; --out must be a folder")
    present = [name for name in SIDES_M if (folder / name).exists()]
    if (folder / LIST_NAME).exists():
        there = read_json(folder / LIST_NAME)
        other = [
            f"{name} {there.get(name)} there, {value} now" for name, value in about.items() if there.get(name) != value
        ]
        if other and not force:
            raise OutputError(
                f"{folder}: holds other rooms ({'; '.join(other)}); choose another --out, or start over with --force"
            )
    elif present:
        raise OutputError(f"{folder}: holds {present[0]}, which was not simulated here; choose another --out")
    with writing(folder):
        for name in present if force else ():
            shutil.rmtree(folder / name)
        for name in SIDES_M:
            (folder / name).mkdir(parents=True, exist_ok=True)
    write_json(folder / LIST_NAME, {**about, "rooms": []})


def _write_room(job: RoomJob) -> str:
    """Simulate a room into its file, whole or not at all; gives why that failed, or nothing."""
    from scipy.io import wavfile

    room = draw_room(job.seed, job.number)
    path = Path(job.folder) / room.file
    try:
        # Not soundfile, which writes the time of day into float files.
        with writing(path), replaced_bytes(path) as file:
            wavfile.write(file, SAMPLE_RATE, room_response(room))
    except OutputError as error:
        return str(error)
    return ""


def _crashed(job: RoomJob) -> str:
    """What is said of a room that killed its process."""
    return f"a process died while it simulated room {job.number}, most likely for want of memory; use fewer --workers"


def _facts(folder: Path, room: Room) -> dict[str, Any]:
    """What rooms.json says of a room; the measured reverberation time is that of its file."""
    return {
        "file": room.file,
        "dimensions_m": room.dimensions_m,
        "absorption": room.absorption,
        "source_m": room.source_m,
        "microphone_m": room.microphone_m,
        "distance_m": room.distance_m,
        "direct_sample": room.direct_sample,
        "rt60_s": room.rt60_s,
        "measured_rt60_s": measured_rt60_s(room, load_audio(folder / room.file)),
    }


def _point(values: NDArray[np.float64]) -> tuple[float, float, float]:
    x, y, z = values.tolist()
    return x, y, z
