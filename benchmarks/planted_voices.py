"""Does `doctor` find recordings of two people that were planted into a corpus?

    python benchmarks/planted_voices.py 'CORPUS/val/ocean-*' 'CORPUS/val/wuw2-*' --out outputs/planted [--model M ...]

The patterns are as in several_voices.py, and so are the recordings, written into a folder of one folder a speaker:
clips of one person joined to 5 to 20 s, and for every four of them a recording of two people under the first one's
label. **Both are made up**, of real people's voices. Prints what doctor finds with each model, in Markdown.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import soundfile
from several_voices import ONE, TWO, recordings, sessions_of

from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.pretrained import PRETRAINED
from sound_groove.provenance import processor

SEED = 7
PLANTED = 4  # for so many of one person, one of two


def main() -> None:
    """Plant, look, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("patterns", metavar="PATTERN", nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", nargs="+", default=[PRETRAINED])
    parser.add_argument("--count", type=int, default=30, help="of each kind and collection (default: 30)")
    arguments = parser.parse_args()
    planted: set[str] = set()
    corpus, total = arguments.out / "corpus", 0
    for place, pattern in enumerate(arguments.patterns):
        planted_here = 0
        for number, made in enumerate(recordings(sessions_of(pattern), arguments.count, SEED + place)):
            if made.kind == ONE[0]:
                continue  # a part of these is in the joined ones
            if made.kind == TWO and (planted_here := planted_here + 1) > arguments.count // PLANTED:
                break  # they come last
            path = corpus / f"{place}-{made.speaker}" / f"{number}.flac"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, made.samples, SAMPLE_RATE)
            total += 1
            if made.kind == TWO:
                planted.add(str(path.absolute()))
    print(f"{total} recordings, {len(planted)} of two people; {processor()}\n")
    print(
        "| model | called several voices | precision | found of those planted | called wrong label, of these planted |"
    )
    print("| --- | --: | --: | --: | --: |")
    for model in arguments.model:
        out = arguments.out / f"doctor-{Path(model).stem}"
        command = [sys.executable, "-m", "sound_groove", "doctor", str(corpus), "--model", model, "--out", str(out)]
        told = json.loads(subprocess.run([*command, "--force", "--json"], check=True, capture_output=True).stdout)
        called, wrong = (
            {str(Path(one["path"]).absolute()) for one in told["findings"] if one["kind"] == kind}
            for kind in ("several_voices", "wrong_label")
        )
        right = len(called & planted)
        precision = f"{right} of {len(called)}"
        print(
            f"| {Path(model).stem} | {len(called)} | {precision} | {right} of {len(planted)} | "
            f"{len(wrong)}, {len(wrong & planted)} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
