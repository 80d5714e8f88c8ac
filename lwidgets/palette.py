"""Colours of pictures, live and still."""

COLORMAPS = ("viridis", "cividis", "magma", "gray")
"""Colour maps that survive colour blindness and print."""

BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY = "#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9"
GRAY = "#808080"
"""Okabe and Ito's colours, told apart by every kind of colour vision; gray for what is not data."""
CYCLE = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY)
"""In the order in which lines of a picture take them."""
