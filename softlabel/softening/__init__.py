"""From hard labels to soft maps: one module a method, and :func:`soften` in front of them."""

from softlabel.softening.area import soften_by_area
from softlabel.softening.front import soften, soften_by
from softlabel.softening.fusions import FUSIONS, Fusion, fusion_problem
from softlabel.softening.inputs import MethodInput
from softlabel.softening.methods import METHODS, Backend, Method
from softlabel.softening.normalize import NORMALIZATIONS
from softlabel.softening.plugins import method_named, registered_names, release_of
from softlabel.softening.request import SoftenRequest

__all__ = [
    "FUSIONS",
    "METHODS",
    "NORMALIZATIONS",
    "Backend",
    "Fusion",
    "Method",
    "MethodInput",
    "SoftenRequest",
    "fusion_problem",
    "method_named",
    "registered_names",
    "release_of",
    "soften",
    "soften_by",
    "soften_by_area",
]
