"""What all sections of a recipe have in common, and the kinds of values that several of them hold."""

from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

Bounds = TypeVar("Bounds", tuple[float, float], tuple[int, int])


def in_order(bounds: Bounds) -> Bounds:
    """A pair that runs from low to high, as it is.

    Raises:
        ValueError: it does not.
    """
    if bounds[0] > bounds[1]:
        raise ValueError("must run from low to high")
    return bounds


Probability = Annotated[float, Field(ge=0, le=1)]
Speed = Annotated[float, Field(ge=0.5, le=2, multiple_of=0.01)]
Range = Annotated[tuple[float, float], AfterValidator(in_order)]
PositiveRange = Annotated[tuple[Annotated[float, Field(gt=0)], float], AfterValidator(in_order)]


class Section(BaseModel):
    """A part of a recipe: frozen, and strict about names."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, validate_default=True)

    @model_validator(mode="before")
    @classmethod
    def _empty_section_is_all_defaults(cls, content: object) -> object:
        return {} if content is None else content

    @field_validator("*", mode="before")
    @classmethod
    def _truth_is_not_a_number(cls, value: object, info: ValidationInfo) -> object:
        # YAML reads `yes` and `on` as true, and pydantic would read true as 1.
        if isinstance(value, bool) and cls.model_fields[str(info.field_name)].annotation is not bool:
            raise ValueError("must not be true or false (which yes, no, on and off mean in YAML)")
        return value
