"""The command line: parse, call, print. No logic lives here.

Each verb is a module of this package with two functions: `register(verbs)` adds its parser, and `run(arguments)` does
the work and returns the exit status. Modules of the library are imported inside `run`, so that `--help` and a wrong
option answer at once.

The contract: data to stdout, talk and progress to stderr; exit 0 = done, 1 = could not, 2 = wrong use, 3 = removed, but
not yet erased (`speakers remove`), 10 and 11 = verdicts of `compare --exit-code`; an error is one sentence, and with
`--json` an object on stdout besides; a traceback appears only with `--debug`.
"""

import argparse
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module

from sound_groove._version import __version__
from sound_groove.cli.completion import add_completion_option
from sound_groove.cli.output import errors_are_json, say, tell_error
from sound_groove.cli.parser import Parser
from sound_groove.errors import ConfigurationError, SoundGrooveError, UsageError, printable
from sound_groove.networks.own import allow_modules
from sound_groove.terminal import guarded_streams

VERBS = (
    "demo",
    "download",
    "prepare",
    "doctor",
    "rooms",
    "crops",
    "recipes",
    "train",
    "verify",
    "calibrate",
    "drift",
    "adapt",
    "compare",
    "enroll",
    "verify-speaker",
    "identify",
    "who",
    "index",
    "find",
    "listen",
    "speakers",
    "embed",
    "export",
    "import",
    "models",
    "info",
    "bench",
    "serve",
    "keys",
)  # one module each, of the same name but for the words that Python keeps to itself
MODULES = {"import": "importing"}

EXAMPLES = """examples:
  sound-groove demo                                   the whole way on made-up voices, in a few minutes
  sound-groove download cnceleb data/raw              fetch, check and unpack CN-Celeb, about 100 GB
  sound-groove prepare folder speech --out data/mine  list the recordings of speech/<speaker>/**
  sound-groove rooms --out data/rooms                 simulate rooms, for augmentation.room_folder
  sound-groove recipes                                ready recipes, by name
  sound-groove train ecapa512                         train a model into outputs/<run>/
  sound-groove verify --model outputs/ecapa512 --trials trials.txt --audio-root DIR
  sound-groove calibrate outputs/ecapa512 --val-meta data/mine/val_meta.jsonl
  sound-groove adapt pretrained --to calls --out calls.onnx     a calibration for one's own recordings
  sound-groove compare a.wav b.wav --model outputs/ecapa512
  sound-groove enroll anna anna-1.wav anna-2.wav      keep a voiceprint under a name
  sound-groove verify-speaker anna call.wav           is it her?
  sound-groove identify call.wav                      who of those enrolled is it, or nobody?
  sound-groove who meeting.wav                        who spoke when, by name
  sound-groove index meetings                         hear an archive of recordings once
  sound-groove find anna meetings.index               where in it she speaks
  arecord -q -f S16_LE -r 16000 -t raw | sound-groove listen anna --rate 16000
  sound-groove embed recordings --model best.onnx     embeddings in bulk, into embeddings.npz
  sound-groove export outputs/ecapa512                an ONNX file: waveform in, embedding out
  sound-groove import voxceleb_resnet34.onnx --out resnet34.onnx
  sound-groove models get campplus-zh-en              a public model, by its name
  sound-groove bench best.onnx                        how fast this machine computes embeddings with it
  sound-groove serve                                  the verifier over HTTP, with a page to try it
  sound-groove --completion bash                      a script that completes verbs, options and files in a shell

'sound-groove VERB --help' explains each verb and shows an example.
"""


class VerbFormatter(argparse.RawDescriptionHelpFormatter):
    """Help whose verbs all stand on one line each; argparse forgets that they are indented."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog)
        self._action_max_length = max(map(len, VERBS)) + 2 * self._indent_increment


def build_parser(words: Sequence[str] = ()) -> Parser:
    """The parser of the command line.

    Args:
        words: those after the program's name. Where they begin with a verb, only that verb's options are put together,
            which is all that its command line needs; otherwise those of all verbs are.
    """
    parser = Parser(
        prog="sound-groove",
        description="Speaker verification: prepare a corpus, train a model, judge it, compare two voices.",
        epilog=EXAMPLES,
        formatter_class=VerbFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("-V", "--version", action="version", version=f"sound-groove {__version__}")
    parser.add_argument("--debug", action="store_true", help="show the traceback when something goes wrong")
    add_completion_option(parser, build_parser)
    parser.add_argument(
        "--module",
        metavar="M",
        action="append",
        help="let code of this Python module, or file, be run for a network of your own (may be given again)",
    )
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    first = next((word for word in words if not word.startswith("-")), "")
    for verb in (first,) if first in VERBS else VERBS:
        import_module(f"sound_groove.cli.{MODULES.get(verb, verb.replace('-', '_'))}").register(verbs)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line.

    Args:
        argv: the words after the program's name; those of the process when None.

    Returns:
        The exit status: 0 = done, 1 = could not, 2 = wrong use, 3 = removed but not yet erased, 130 = interrupted. What
        the parser itself refuses (2), and `--help` (0), leave by SystemExit.
    """
    words = list(sys.argv[1:] if argv is None else argv) or ["--help"]
    debug = "--debug" in words  # accepted after the verb too, as --module is
    modules, words = named_modules([word for word in words if word != "--debug"])
    with guarded_streams(), allow_modules(*modules):
        token = errors_are_json.set("--json" in words)
        try:
            return _status(words, debug)
        finally:
            errors_are_json.reset(token)


def named_modules(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """The modules that a command line names, and its other words; what is not complete is left to the parser."""
    modules, others, rest = [], [], list(words)
    while rest:
        word = rest.pop(0)
        if word.startswith("--module=") and word != "--module=":
            modules.append(word.removeprefix("--module="))
        elif word == "--module" and rest and not rest[0].startswith("-"):
            modules.append(rest.pop(0))
        else:
            others.append(word)
    return modules, others


def _status(words: list[str], debug: bool) -> int:
    """The exit status of a command line, after its errors were told."""
    try:
        return _answer(words)
    except BrokenPipeError:
        _abandon_stdout()  # the reader (head, less) went away: that is its right
        return 128 + signal.SIGPIPE
    except KeyboardInterrupt:
        _say("interrupted")
        return 128 + signal.SIGINT
    except Exception as error:
        if isinstance(error, OSError):
            _abandon_stdout()  # it may be what failed: a full disk
        if debug:
            _say(*traceback.format_exc().splitlines())
        else:
            with suppress(OSError):  # both streams may be gone
                tell_error(describe(error))
        return 2 if isinstance(error, UsageError) else 1


def describe(error: BaseException) -> str:
    """One sentence for whatever went wrong (for a recipe with mistakes, one line for each of them)."""
    if isinstance(error, ConfigurationError):
        return str(error)
    if isinstance(error, SoundGrooveError):
        return printable(str(error))
    if isinstance(error, OSError):
        reason = printable(error.strerror or str(error))
        return (
            f"{printable(os.fsdecode(error.filename))}: {reason}" if isinstance(error.filename, str | bytes) else reason
        )
    # torch has its own: OutOfMemoryError on a GPU, and a plain RuntimeError on a CPU
    if (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "DefaultCPUAllocator" in str(error)
    ):
        return "out of memory; use a smaller batch, fewer workers or shorter recordings"
    what = printable(" ".join(f"{type(error).__name__}: {error}".split()))[:300]
    return f"this is a bug in Sound-Groove ({what}); run it again with --debug and report what it shows"


def _answer(words: list[str]) -> int:
    """Parse and run; whatever happens, what was printed has left the process, or its failure is known."""
    try:
        arguments = build_parser(words).parse_args(words)
        status: int = arguments.run(arguments)
        return status
    finally:
        sys.stdout.flush()


def _say(*lines: str) -> None:
    with suppress(OSError):  # stderr may be gone as well
        say(*lines)


def _abandon_stdout() -> None:
    """Keep the interpreter from complaining at exit about output that cannot be written."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
