"""Child processes of the tests, and what they do in them (without torch, which takes seconds to import)."""

import json
import os
import signal
import subprocess
import sys
import time

from sound_groove.corpora.file_work import FileJob, FileOutcome, check_file
from sound_groove.corpora.shards import ShardJob, ShardOutcome, write_shard


def heed_interrupts() -> None:
    """For `preexec_fn`: a child hears Ctrl-C even where a shell runs the tests in the background, which ignores it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def modules_after(code: str) -> set[str]:
    """The modules that a fresh process has loaded after running the code."""
    program = f"import json, sys\n{code}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def check_or_die(job: FileJob) -> FileOutcome:
    """`check_file` with a decoder that crashes on files with "deadly" in their names."""
    if "deadly" in job.path:
        os.kill(os.getpid(), signal.SIGSEGV)
    return check_file(job)


def write_shard_or_die(job: ShardJob) -> ShardOutcome:
    """`write_shard` with the same decoder."""
    excluded = {place for place, _ in job.excluded}
    for place, part in enumerate(job.parts):
        if place not in excluded and any("deadly" in path for path in part.paths):
            os.kill(os.getpid(), signal.SIGSEGV)
    return write_shard(job)


def full_disk(job: ShardJob) -> ShardOutcome:
    """`write_shard` on a full disk."""
    raise OSError(28, "No space left on device", job.folder)


def nap(seconds: float) -> float:
    """Take a while."""
    time.sleep(seconds)
    return seconds
