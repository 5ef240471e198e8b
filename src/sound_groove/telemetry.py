"""No telemetry: onnxruntime 1.32 and later report to their maker when they are imported, unless they are told not to.

On Linux its wheel then looks up mobile.events.data.microsoft.com, keeps an id of the machine in ~/.cache/Microsoft, and
a session file in the folder for temporary files. `onnxruntime.disable_telemetry_events()` can only be called after the
import, and comes too late for that (seen with strace). A program that works on voices tells nobody that it runs.
"""

import os
from typing import Any

DISABLE = "ORT_DISABLE_TELEMETRY"  # read once, when onnxruntime is imported


def import_onnxruntime() -> Any:
    """onnxruntime, imported without telemetry; who has set ORT_DISABLE_TELEMETRY otherwise is heeded.

    The environment is afterwards as it was before.
    """
    is_decided = DISABLE in os.environ
    if not is_decided:
        os.environ[DISABLE] = "1"
    try:
        import onnxruntime
    finally:
        if not is_decided:
            os.environ.pop(DISABLE, None)
    return onnxruntime
