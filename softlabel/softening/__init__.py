"""From hard labels to soft maps: one module a method, and :func:`soften` in front of them."""

from softlabel.softening.front import soften, soften_with
from softlabel.softening.methods import METHODS, Backend, Method
from softlabel.softening.normalize import NORMALIZATIONS

__all__ = ["METHODS", "NORMALIZATIONS", "Backend", "Method", "soften", "soften_with"]
