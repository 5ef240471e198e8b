"""In which format and how finely figures are saved."""

from dataclasses import dataclass
from typing import Literal, get_args

from sound_groove.errors import UsageError

FigureFormat = Literal["png", "svg", "pdf"]
FORMATS: tuple[FigureFormat, ...] = get_args(FigureFormat)
USUAL_DPI = 140
LEAST_DPI, MOST_DPI = 50, 1200


@dataclass(frozen=True, slots=True)
class FigureOptions:
    """How figures are saved.

    Attributes:
        form: "png"; or "svg" or "pdf", of which there is a file beside each PNG.
        dpi: dots to the inch of a PNG.

    Raises:
        UsageError: the dots are too few or too many to be of use.
    """

    form: FigureFormat = "png"
    dpi: int = USUAL_DPI

    def __post_init__(self) -> None:
        if not LEAST_DPI <= self.dpi <= MOST_DPI:
            raise UsageError(f"--dpi must lie between {LEAST_DPI} and {MOST_DPI}; {self.dpi} was given")
