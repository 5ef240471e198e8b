"""The published weights of segmentation-3.0 as an ONNX file, compared with the network that they were read into."""

from pathlib import Path

import numpy as np
import torch

from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.encoder.runtimes import open_model
from sound_groove.errors import CheckpointError, printable
from sound_groove.export.tracing import quiet
from sound_groove.files import writing
from sound_groove.importing.foreign_tensors import read_state
from sound_groove.networks.segmentation import restore_segmentation

OPSET = 17
CLOSE = 1e-3  # of a logarithm of a probability
WINDOW = SAMPLE_RATE * 10


def import_segmentation(source: Path, out: Path) -> None:
    """Make an ONNX file: waveforms (B, 1, 160000) in, logarithms of the probabilities of seven sets (B, 589, 7) out.

    Args:
        source: the weights, tensors by name; nothing else of the file is read.
        out: the file to write.

    Raises:
        CheckpointError: the weights cannot be read, are of another network, or the file computes something else.
        OutputError: the file cannot be written.
    """
    network = restore_segmentation(read_state(source), printable(str(source)))
    example = torch.from_numpy(np.random.default_rng(0).standard_normal((1, 1, WINDOW)).astype(np.float32) / 10)
    names = {"waveforms": {0: "batch"}, "sets": {0: "batch"}}
    with writing(out), quiet():
        # The exporter by tracing knows an LSTM as one; the other would write out its 589 steps.
        torch.onnx.export(
            network,
            (example,),
            str(out),
            input_names=["waveforms"],
            output_names=["sets"],
            dynamic_axes=names,
            opset_version=OPSET,
            dynamo=False,
        )
    both = torch.cat([example, example.flip(2)])
    with torch.inference_mode():
        expected = network(both).numpy()
    (found,) = open_model(out, "cpu", 1).run(both.numpy(), np.zeros(2, np.float32))
    if found.shape != expected.shape or not np.abs(found - expected).max() < CLOSE:
        raise CheckpointError(f"{printable(str(source))}: the file that was made of it computes something else")
