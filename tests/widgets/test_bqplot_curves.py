"""Where a legend goes: to the corner in which it hides least."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from lwidgets.widgets.line_plot import LinePlot, Series, roomiest_corner

CORNERS = {"top-right": (1, 1), "top-left": (0, 1), "bottom-right": (1, 0), "bottom-left": (0, 0)}


SIXTEENTHS = st.integers(-8, 24).map(lambda n: n / 16)  # exact, so that 1 - x < w is x > 1 - w to the last bit
WIDTHS = st.integers(3, 16).map(lambda n: n / 32)


@given(arrays(np.float64, st.tuples(st.just(2), st.integers(0, 40)), elements=SIXTEENTHS), WIDTHS, WIDTHS)
def test_the_roomiest_corner_has_the_fewest_points(points, width, height):
    def crowd(corner):
        right, top = CORNERS[corner]
        count = 0
        for x, y in points.T:
            across, up = (1 - x if right else x), (1 - y if top else y)
            count += across < width and up < height
        return count

    found = roomiest_corner(points, width, height)
    assert crowd(found) == min(map(crowd, CORNERS))
    if crowd("top-right") == crowd(found):
        assert found == "top-right"


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("corner", CORNERS)
def test_a_legend_makes_room_for_the_curves(corner, log):
    plot = LinePlot("x")
    plot.label("y", log=log)
    spot = np.array(CORNERS[corner]) * 0.9 + 0.05
    others = [np.array(place) * 0.9 + 0.05 for place in CORNERS.values() if tuple(place) != CORNERS[corner]]
    lines = [Series([x - 0.04, x + 0.04], np.full(2, y), "", style="dashed") for x, y in others]
    lines.append(Series([0.4, 0.6], [0.5, 0.5], "named"))
    if log:
        lines = [Series(one.x, 10.0 ** (6 * np.asarray(one.y) - 3), one.label, style=one.style) for one in lines]
    ends = [1e-3, 1e3] if log else [0.0, 1.0]
    plot.fit([0.0, 1.0], ends)
    plot.draw("lines", lines)
    assert plot.figure.legend_location == corner
    plot.draw("rule", [Series(np.full(2, spot[0]), ends)])  # a cursor may pass
    plot.draw("lines", lines)
    assert plot.figure.legend_location == corner
    plot.close()


def test_a_legend_on_a_logarithmic_axis_leaves_out_what_has_no_place_there():
    plot = LinePlot("x", height="20em")
    plot.label("y", log=True)
    plot.fit([0.0, 1.0], [1e-3, 1.0])
    plot.draw("lines", [Series([0.0, 0.5, 1.0], [0.0, -1.0, 1.0], "named")])
    assert plot.figure.legend_location in CORNERS
    plot.close()
