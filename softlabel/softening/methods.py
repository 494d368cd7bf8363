"""The softening methods by name.

A method is a function of a :class:`~softlabel.softening.inputs.MethodInput`, a label map and what
belongs to it, and of a frozen dataclass of its own options. To add one, write its module and its
entry in :data:`METHODS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from softlabel.softening.dilation import DilationOptions, soften_by_dilation
from softlabel.softening.distance import DistanceOptions, soften_by_distance
from softlabel.softening.gaussian import GaussianOptions, soften_by_gaussian
from softlabel.softening.geols import GeoLSOptions, soften_by_geols
from softlabel.softening.given import GivenOptions, refuse_hard_labels
from softlabel.softening.hard import HardOptions, keep_hard
from softlabel.softening.inputs import MethodInput
from softlabel.softening.posterior import PosteriorOptions, soften_by_posterior
from softlabel.softening.smoothing import SmoothingOptions, soften_by_smoothing
from softlabel.softening.superpixel import SuperpixelOptions, soften_by_superpixels
from softlabel.softening.surface_cdf import SurfaceCDFOptions, soften_by_surface_cdf
from softlabel.softening.svls import SVLSOptions, soften_by_svls
from softlabel.softmaps.maps import SoftMaps
from softlabel.types import Array, ClassTable

Backend = Callable[
    [list[Array], ClassTable, list[Array], tuple[float, ...], float, SuperpixelOptions],
    list[SoftMaps],
]
"""The superpixel method for several images of one shape: (class indices, table, superpixels,
spacing, scale, options) -> soft maps."""


SPACING, PIXELS, NONE = "spacing", "pixels", "none"


@dataclass(frozen=True)
class Method:
    """A softening method.

    Attributes
    ----------
    title : str
        What it does and where it comes from, in a line.
    options : type
        Frozen dataclass of its options, which makes them plain (:mod:`softlabel.coerce`). A field
        with ``help`` in its metadata becomes an option of the command line.
    needs_superpixels : bool
    run : callable (MethodInput, options) -> SoftMaps
    on_device : bool
        There is tensor code for it as well (:mod:`softlabel.softening.tensor.images`).
    needs_image : bool
        It looks at the intensities of the image itself.
    uses_mask : bool
        It leaves out the intensities outside of a mask.
    takes_soft_labels : bool
        It takes soft labels (:attr:`softlabel.types.Case.soft`) and no hard ones.
    distances : {"spacing", "pixels", "none"}
        What it measures in: the unit of the spacing; pixels, whatever the spacing; or nothing,
        since pixels are softened one by one.
    """

    title: str
    options: type
    needs_superpixels: bool
    run: Callable[[MethodInput, Any], SoftMaps]
    on_device: bool = False
    needs_image: bool = False
    uses_mask: bool = False
    takes_soft_labels: bool = False
    distances: str = SPACING

    @property
    def uses_spacing(self) -> bool:
        """It measures in the unit of the spacing, so that the spacing has a say."""
        return self.distances == SPACING

    @property
    def has_boundary(self) -> bool:
        """It softens by the distance to a boundary (Eq. 1): ``boundary`` and ``scale`` matter."""
        return "boundary" in {f.name for f in fields(self.options)}


METHODS: dict[str, Method] = {
    "superpixel": Method(
        "signed distance inside superpixels that a boundary crosses (Li et al. 2020)",
        SuperpixelOptions,
        True,
        soften_by_superpixels,
        on_device=True,
    ),
    "gaussian": Method(
        "Gaussian blur of every class (van Engelen 2012)",
        GaussianOptions,
        False,
        soften_by_gaussian,
    ),
    "distance": Method(
        "signed distance near every boundary, without superpixels",
        DistanceOptions,
        False,
        soften_by_distance,
    ),
    "smoothing": Method(
        "label smoothing, the same everywhere (Szegedy et al. 2016)",
        SmoothingOptions,
        False,
        soften_by_smoothing,
        distances=NONE,
    ),
    "svls": Method(
        "spatially varying label smoothing (Islam and Glocker 2021)",
        SVLSOptions,
        False,
        soften_by_svls,
        distances=PIXELS,
    ),
    "dilation": Method(
        "rings around the foreground (after Kats et al. 2019)",
        DilationOptions,
        False,
        soften_by_dilation,
        distances=PIXELS,
    ),
    "geols": Method(
        "nearness on ways through the image (GeoLS, Vasudeva et al. 2023)",
        GeoLSOptions,
        False,
        soften_by_geols,
        needs_image=True,
        distances=NONE,
    ),
    "posterior": Method(
        "drawn boundary and intensities together, by Bayes' rule",
        PosteriorOptions,
        False,
        soften_by_posterior,
        needs_image=True,
        uses_mask=True,
    ),
    "surface-cdf": Method(
        "layers whose boundaries have a Gaussian place along the A-scan",
        SurfaceCDFOptions,
        False,
        soften_by_surface_cdf,
    ),
    "hard": Method(
        "the hard labels as they are",
        HardOptions,
        False,
        keep_hard,
        distances=NONE,
    ),
    "given": Method(
        "the soft labels that the data set holds, as they are",
        GivenOptions,
        False,
        lambda *_: refuse_hard_labels(),
        takes_soft_labels=True,
        distances=NONE,
    ),
}
