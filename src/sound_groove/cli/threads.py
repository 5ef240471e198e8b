"""Letting the threads of a network sleep when they have to wait for each other for long, instead of spinning.

A thread of GNU OpenMP that waits keeps its core busy for about a millisecond before it sleeps. On a machine with other
work to do, it takes that core from the very thread that it waits for: a training step of ECAPA-TDNN C = 128 (batch 32,
crops of 1 s) on two cores beside one other busy program took 2.4 s in the median, and 1.0 s with 3,000 spins.

Sleeping too soon costs as much where waking is slow, as on some virtual machines: on two idle cores of one, the same
training took 38 to 48 crops/s with 3,000 spins, 80 with 30,000, 76 to 82 with 100,000 and 83 to 90 with the default.
"""

import os

SPINS = "30000"  # GNU OpenMP's own default is 300,000


def spin_briefly() -> None:
    """Ask OpenMP to let waiting threads sleep soon, for the rest of the process; a choice of the user's own stands.

    It changes the whole process, so it is for programs to call, not for the library, and before torch is imported: the
    runtime looks at its environment once, when it is loaded.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
