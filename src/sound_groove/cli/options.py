"""The types of options that several verbs have."""

import argparse

MODEL_HELP = (
    "model file, run folder, name of a public model ('models list'), or hf://owner/name[@revision][/file]; default: "
    "$SOUND_GROOVE_MODEL, else the model in the package, 'pretrained'"
)


def add_model_option(parser: argparse.ArgumentParser) -> None:
    """Let a verb be told which model to use."""
    parser.add_argument("--model", metavar="M", help=MODEL_HELP)


def add_channel_option(parser: argparse.ArgumentParser) -> None:
    """Let a verb be told which channel of its recordings to listen to."""
    parser.add_argument(
        "--channel",
        metavar="N",
        type=positive_integer,
        help="listen to this channel of each recording, counted from 1 (default: the average of all); a name such as "
        "call.wav#2 says it of one recording",
    )


def add_ray_options(parser: argparse.ArgumentParser) -> None:
    """Let a verb share its work out over a Ray cluster."""
    parser.add_argument("--ray", action="store_true", help="share the work out over a Ray cluster")
    parser.add_argument("--ray-address", metavar="A", help="of the cluster (default: $RAY_ADDRESS, else this machine)")


def check_ray_options(arguments: argparse.Namespace) -> None:
    """Refuse the address of a cluster that is not to be used.

    Raises:
        UsageError: it is given without `--ray`.
    """
    from sound_groove.errors import UsageError

    if arguments.ray_address and not arguments.ray:
        raise UsageError("--ray-address needs --ray")


def number(text: str) -> float:
    """Any number."""
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"needs a number, and '{text}' was given") from None


def positive_integer(text: str) -> int:
    """How many of something."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"needs a whole number of at least 1, and '{text}' was given")
    return value


def seed(text: str) -> int:
    """A seed: a whole number from 0 to 2^32 - 1."""
    if not text.isascii() or not text.isdigit() or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f"must be a whole number from 0 to {2**32 - 1}, not '{text}'")
    return int(text)
