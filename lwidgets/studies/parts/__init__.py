"""What ready-made studies are put together from: groups of sliders, nodes and views, and what these need."""
