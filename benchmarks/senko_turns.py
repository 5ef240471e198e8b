"""Who spoke when by senko, for `diarization.py --senko`: run by the interpreter of an environment that has it.

    python -m venv senko && senko/bin/pip install torch==2.13.0 && senko/bin/pip install senko==0.2.2
    senko/bin/python benchmarks/senko_turns.py conversation.wav...

Prints a JSON object for each file: `turns` (start and end in seconds, speaker) and `cpu_s`, the processor time that it
took without loading. On a processor senko finds speech by silero-vad and, in recordings under 20 minutes, speakers by
spectral clustering of CAM++ embeddings of 1.5 s. Needs nothing of sound_groove. One thread where OMP_NUM_THREADS is 1.
"""

import json
import sys
import time

import senko


def main() -> None:
    """Answer for every file that is named."""
    diarizer = senko.Diarizer(device="cpu", vad="silero", clustering="cpu", warmup=True, quiet=True)
    for path in sys.argv[1:]:
        start = time.process_time()
        found = diarizer.diarize(path)
        spent = time.process_time() - start
        turns = [[one["start"], one["end"], one["speaker"]] for one in (found["raw_segments"] if found else [])]
        print(json.dumps({"turns": turns, "cpu_s": spent}), flush=True)


if __name__ == "__main__":
    main()
