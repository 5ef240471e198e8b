"""The pictures of a result as a page can hold them: with a caption, and as data: URIs."""

import base64
from dataclasses import dataclass
from pathlib import Path

from sound_groove.evaluation.report.figure_options import USUAL_DPI

WIDE = 700  # pixels from which on a picture that stands alone is moved in a narrow window, and not made small
CAPTIONS = {
    "roc.png": (
        "ROC",
        "Hits over false alarms, on a logarithmic axis, at every threshold. The further to the upper left, the better.",
    ),
    "det.png": ("DET", "Misses over false alarms on normal-deviate axes. The further to the lower left, the better."),
    "score_hist.png": ("Scores", "How both kinds of trial score. The less they overlap, the better."),
    "tsne.png": (
        "Embeddings",
        "One colour, shape and number a speaker. Distances between groups mean little.",
    ),
    "reliability.png": (
        "Reliability",
        "How often the speaker is the same, over the probability that was stated. The nearer to the diagonal, the "
        "more the probabilities can be taken at their word.",
    ),
    "genre_pairs.png": (
        "Genres",
        "Equal error rate in percent, darker = worse; below it the number of trials. Hatched: too few to measure.",
    ),
}


@dataclass(frozen=True, slots=True)
class Picture:
    """A PNG file of a result.

    Attributes:
        title: in a word.
        caption: how it is to be read.
        width: in its own pixels.
        height: in its own pixels.
        dpi: its dots to the inch, of which a page shows 96.
        data: the file as a data: URI.
    """

    title: str
    caption: str
    width: int
    height: int
    dpi: float
    data: str

    @property
    def shown_width(self) -> int:
        """Pixels of the page that it takes where the window is wide enough."""
        return round(self.width * 96 / self.dpi)

    @property
    def is_wide(self) -> bool:
        """Whether it would be unreadable in a narrow window."""
        return self.shown_width > WIDE


def read_picture(path: Path) -> Picture:
    """A picture that a result folder may hold: one of those with a caption."""
    content = path.read_bytes()
    width, height = (int.from_bytes(content[start : start + 4], "big") for start in (16, 20))  # of the PNG's header
    data = f"data:image/png;base64,{base64.b64encode(content).decode('ascii')}"
    place = content.find(b"pHYs", 0, 1000)  # dots to the metre, among the chunks before the picture's own
    dpi = int.from_bytes(content[place + 4 : place + 8], "big") * 0.0254 if place >= 0 else USUAL_DPI
    return Picture(*CAPTIONS[path.name], width, height, dpi, data)
