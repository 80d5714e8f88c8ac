"""Draws the picture of README.md: ``python tools/readme_picture.py`` writes docs/surface.png."""

from pathlib import Path

import lwidgets as lw

if __name__ == "__main__":
    objective, a, b = lw.demo.digits()
    aligned = lw.align(a, b, objective, method="weights").state
    landscape = lw.sample(objective, lw.Plane.through(a, b, aligned))
    landscape.to_png(Path(__file__).parents[1] / "docs" / "surface.png", dpi=130, width=4.5, log=True)
