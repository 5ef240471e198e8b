"""Write the two files of the model in the package, whose matrices are in one of them.

    python benchmarks/package_files.py MODEL.safetensors FOLDER [--calibrated CALIBRATED.onnx]

MODEL is a .safetensors file in halves, as benchmarks/front_end.py writes it; CALIBRATED the same model as
benchmarks/unseen_collections.py has calibrated it. What is written belongs into src/sound_groove/weights, and its sums
into `sound_groove.pretrained`.
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.export.calibrated_file import write_calibrated
from sound_groove.export.package_files import write_package_files


def main() -> None:
    """Write the files, and say where they are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--calibrated", type=Path)
    parser.add_argument("--force", action="store_true", help="replace files that are there")
    arguments = parser.parse_args()
    model = arguments.model
    with TemporaryDirectory() as folder:
        if arguments.calibrated is not None:
            calibrated = SpeakerEncoder.load(arguments.calibrated, threads=1)
            if calibrated.identity.hash != SpeakerEncoder.load(model, threads=1).identity.hash:
                parser.error(f"{arguments.calibrated} is another model than {model}")
            if calibrated.score_map is None:
                parser.error(f"{arguments.calibrated} carries no calibration")
            model = Path(folder) / model.name
            write_calibrated(arguments.model, calibrated.score_map, model)
        print(*write_package_files(model, arguments.folder, arguments.force), sep="\n")


if __name__ == "__main__":
    main()
