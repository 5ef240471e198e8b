"""Child processes of the tests."""

import signal


def heed_interrupts() -> None:
    """For `preexec_fn`: a child hears Ctrl-C even where a shell runs the tests in the background, which ignores it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
