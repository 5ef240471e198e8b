"""Average the weights of two models of one network, of which one was trained further than the other.

    python benchmarks/mean_of_weights.py EARLIER.safetensors LATER.safetensors --name NAME --out MEAN.safetensors

What training further has brought is kept in part, and of what it has cost a part is given back (Wortsman et al. 2022,
'Robust fine-tuning of zero-shot models', equation 1). The facts of the mean are LATER's, licence and data EARLIER's
where LATER says none, its training speakers those of both; it has neither a centre nor a score map: calibrate it.
"""

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from sound_groove.networks.checkpoint import load_checkpoint, save_checkpoint
from sound_groove.networks.tensor_groups import NETWORK
from sound_groove.pretrained import model_path


def main() -> None:
    """Write the model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("earlier", type=Path)
    parser.add_argument("later", type=Path)
    parser.add_argument("--share", type=float, default=0.5, help="of LATER in the mean (default: 0.5)")
    parser.add_argument("--name", required=True)
    parser.add_argument("--description", help="one sentence (default: LATER's)")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--force", action="store_true", help="replace a file that is there")
    arguments = parser.parse_args()
    if not 0 < arguments.share < 1:
        parser.error(f"--share {arguments.share} is not between 0 and 1")
    if arguments.out.exists() and not arguments.force:
        parser.error(f"{arguments.out} is there already")
    earlier = load_checkpoint(model_path(arguments.earlier, ".safetensors"))
    later = load_checkpoint(model_path(arguments.later, ".safetensors"))
    if earlier.configuration != later.configuration:
        parser.error(f"{arguments.earlier} and {arguments.later} are different networks")
    speakers = sorted(earlier.trained_speakers | later.trained_speakers)
    # A run's own weights say neither.
    terms = {name: earlier.header.training.get(name) for name in ("data", "licence")}
    facts = {
        **{name: value for name, value in terms.items() if value is not None},
        **later.header.training,
        "speaker_digests": speakers,
        "speakers": len(speakers),
        "averaged_with": {"name": earlier.header.name, "hash": earlier.hash, "share": 1 - arguments.share},
        **({"description": arguments.description} if arguments.description else {}),
    }
    header = replace(later.header, name=arguments.name, training=facts, score_map=None, probe=None)
    save_checkpoint(arguments.out, mean_of(earlier.group(NETWORK), later.group(NETWORK), arguments.share), header)
    print(f"{arguments.out}: model {load_checkpoint(arguments.out).hash}")


def mean_of(earlier: Mapping[str, Tensor], later: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """The mean of each of the network's tensors, in float32; whole numbers are the later's."""
    return {
        NETWORK + name: (
            ((1 - share) * earlier[name].float() + share * tensor.float()).contiguous()
            if tensor.is_floating_point()
            else tensor
        )
        for name, tensor in later.items()
    }


if __name__ == "__main__":
    main()
