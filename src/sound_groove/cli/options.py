"""The types of options that several verbs have."""

import argparse


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
