"""How well an image shows what it shows: factors for noise and contrast."""

from __future__ import annotations

from dataclasses import dataclass

from softlabel.errors import UsageError


@dataclass(frozen=True)
class Visibility:
    """Factors of the usual noise and contrast.

    Attributes
    ----------
    noise : float, 0.25 to 4
        Of the standard deviation of noise. Speckle of OCT is averaged over as many frames as make
        it so; a single frame, 1.7 times the usual, is the most.
    contrast : float, 0 to 2
        Of the differences between tissues. 0 shows none.

    Raises
    ------
    UsageError
        When a factor is out of its range.
    """

    noise: float = 1.0
    contrast: float = 1.0

    def __post_init__(self) -> None:
        if not 0.25 <= self.noise <= 4:
            raise UsageError(f"The phantom's noise factor is {self.noise}; expected 0.25 to 4.")
        if not 0 <= self.contrast <= 2:
            raise UsageError(f"The phantom's contrast factor is {self.contrast}; expected 0 to 2.")


USUAL = Visibility()
