"""Where a landscape is sampled: a function from a few coordinates to coefficients over a basis.

A point is theta(u) = sum_k c_k(u) V_k. Here the V_k are models (vertices) and directions, and c is affine in u:

    c(u) = (1 - u_1 - ... - u_m, u_1, ..., u_m | u_{m+1}, ..., u_n)
            vertex 0             vertices 1..m   directions

so a line between two models, a plane through three, a plane around one and mixtures of them are one formula.
Coordinates along vertices are barycentric (alpha is 0 at the first model and 1 at the other); along directions they
count in units of the normalised direction.

Where c is something else, a subclass says so: on curves it is not affine, and `Layerwise` has vectors that are parts
of models.
"""

from lwidgets.subspaces.affine import Line, Plane, Simplex
from lwidgets.subspaces.base import Axis, Span, Subspace, fitted, letters
from lwidgets.subspaces.curves import Bezier, Chain
from lwidgets.subspaces.layerwise import Grouping, Layerwise

__all__ = [
    "Axis",
    "Bezier",
    "Chain",
    "Grouping",
    "Layerwise",
    "Line",
    "Plane",
    "Simplex",
    "Span",
    "Subspace",
    "fitted",
    "letters",
]
