"""`sound-groove embed`: embeddings in bulk."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from sound_groove.cli.options import (
    add_channel_option,
    add_model_option,
    add_ray_options,
    check_ray_options,
    positive_integer,
)
from sound_groove.cli.output import say, show, show_json
from sound_groove.cli.verb import add_verb, ready_for_computing

if TYPE_CHECKING:
    from sound_groove.cli.verb import Verbs
    from sound_groove.encoder.bulk import Recordings

EXAMPLES = """examples:
  sound-groove embed recordings --model best.onnx --out recordings.npz
  sound-groove embed calls.txt --model best.onnx --out calls.npz     a list: one path a line
  sound-groove embed data/test --model best.onnx                     a Kaldi data folder: wav.scp, segments
  sox a.sph -t wav - | sound-groove embed - --model best.onnx        the standard input
  sound-groove embed a.wav b.flac --model best.onnx
  sound-groove embed 'call.wav#1' 'call.wav#2' --model best.onnx     the channels of a recording
  sound-groove embed samples.npz --model best.onnx                   arrays (samples,) at 16 kHz
  sound-groove embed recordings --model best.onnx --ray              on a Ray cluster

The result is a .npz file: 'path' (N,) names the recordings, 'emb' (N, D) float32 holds their unit-length embeddings,
'norms' (N,) float32 their lengths before, NaN where the model does not tell them, and 'model' is the model's hash.
What is done is kept beside it, and the same command goes on where it was stopped; recordings that have changed since,
by size or time, are embedded again.
"""
MOST_NAMED = 20  # recordings of which one thing is said
LISTS = (".txt", ".lst", ".list", ".tsv")


def register(verbs: "Verbs") -> None:
    """Add the verb's parser."""
    parser = add_verb(
        verbs,
        "embed",
        "embeddings in bulk: of files, folders, a list, arrays",
        "Embed many recordings, on all cores or on a Ray cluster.",
        EXAMPLES,
        run,
    )
    parser.add_argument(
        "recordings",
        metavar="INPUT",
        nargs="+",
        help="audio files, folders, lists (.txt), Kaldi data folders, '-', or one .npz",
    )
    add_model_option(parser)
    add_channel_option(parser)
    parser.add_argument(
        "--out",
        metavar="F.npz",
        type=Path,
        default=Path("embeddings.npz"),
        help="(default: embeddings.npz)",
    )
    parser.add_argument("--force", action="store_true", help="replace the file that is there, and begin anew")
    parser.add_argument("--allow-failures", action="store_true", help="leave out recordings that cannot be used")
    parser.add_argument(
        "--crops", metavar="N", type=positive_integer, help="average N evenly spaced crops (default: whole recordings)"
    )
    parser.add_argument(
        "--crop-frames", metavar="F", type=positive_integer, help="length of a crop in 10 ms (default: 400)"
    )
    parser.add_argument(
        "--workers",
        metavar="N",
        type=positive_integer,
        help="recordings at a time (default: all cores)",
    )
    parser.add_argument("--device", metavar="NAME", default="cpu", help="where the network runs (default: cpu)")
    add_ray_options(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Embed, and print where the result lies."""
    ready_for_computing()
    from sound_groove.encoder.bulk import embed_all, in_threads
    from sound_groove.encoder.encoder import SpeakerEncoder, default_model
    from sound_groove.errors import UsageError
    from sound_groove.pretrained import model_path
    from sound_groove.progress import ProgressBar
    from sound_groove.provenance import available_cores
    from sound_groove.types import CropAveraging

    if arguments.crop_frames and not arguments.crops:
        raise UsageError("--crop-frames needs --crops")
    check_ray_options(arguments)
    if arguments.out.suffix != ".npz":
        raise UsageError(f"--out must end in .npz, and '{arguments.out}' was given")
    model = arguments.model or default_model()
    crops = CropAveraging(arguments.crops, arguments.crop_frames or 400) if arguments.crops else None
    recordings = find_recordings(arguments.recordings, arguments.channel)
    encoder = SpeakerEncoder.load(model, arguments.device, threads=1)
    if arguments.ray:
        from sound_groove.encoder.ray_bulk import on_ray

        embed = on_ray(model_path(model).absolute(), arguments.device, crops, arguments.workers, arguments.ray_address)
    else:
        embed = in_threads(encoder, crops, arguments.workers or available_cores())
    about = {"model": encoder.identity.hash, "crops": [crops.count, crops.frames] if crops else None}
    with ProgressBar(total=len(recordings.names), desc="embedding", unit="recording", disable=None) as bar:
        done = embed_all(
            recordings,
            arguments.out,
            embed,
            about,
            force=arguments.force,
            allow_failures=arguments.allow_failures,
            progress=bar.update,
        )
    left_out = f"; {len(done.failures):,} left out, listed in {done.file}.failed.tsv" if done.failures else ""
    earlier = f", {done.earlier:,} of them by an earlier run" if done.earlier else ""
    count = "1 recording" if done.embedded == 1 else f"{done.embedded:,} recordings"
    mixed = done.mixed
    for mixture, why in mixed[:MOST_NAMED]:
        say(f"warning: {mixture}: {why}")
    if len(mixed) > MOST_NAMED:
        say(f"warning: the same of {len(mixed) - MOST_NAMED:,} more recordings")
    say(f"{count} embedded by {encoder.identity.label}{earlier}{left_out}")
    record = {
        "file": str(done.file),
        "embedded": done.embedded,
        "failures": dict(done.failures),
        "channels_differ": [mixture for mixture, _ in mixed],
        **about,
    }
    if arguments.json:
        show_json(record, indent=None)
    else:
        show(str(done.file))
    return 0


def find_recordings(inputs: list[str], channel: int | None = None) -> "Recordings":
    """What the words of the command line mean, and which channel of them is wanted (None: all, averaged).

    Raises:
        UsageError: arrays are named beside other things, or a channel of them.
        CorpusError: a folder or list is missing, or there is no audio in a folder.
    """
    from sound_groove.audio.channels import with_channel
    from sound_groove.corpora.layouts.kaldi import is_kaldi, read_kaldi
    from sound_groove.corpora.layouts.listing import audio_below, listed_paths
    from sound_groove.encoder.bulk import Files, open_arrays
    from sound_groove.errors import UsageError

    if any(word.endswith(".npz") for word in inputs):
        if len(inputs) > 1:
            raise UsageError("a .npz file of samples is embedded alone; give it a run of its own")
        if channel is not None:
            raise UsageError("--channel is of audio files; the samples of a .npz file have no channels")
        return open_arrays(Path(inputs[0]))
    names: list[str] = []
    paths: dict[str, str] = {}  # of what is not called by its path
    for word in inputs:
        path = Path(word)
        if is_kaldi(path):
            data = read_kaldi(path)
            names.extend(data.utterances)
            paths |= {utterance: data.path(utterance) for utterance in data.utterances}
        elif path.is_dir():
            names.extend(audio_below(path, "recordings"))
        elif path.suffix in LISTS:
            names.extend(map(str, listed_paths(path)))
        else:
            names.append(word)
    if channel:
        paths = {name: str(with_channel(Path(path), channel)) for name, path in paths.items()}
        names = [name if name in paths else str(with_channel(Path(name), channel)) for name in names]
    return Files(tuple(names), paths)
