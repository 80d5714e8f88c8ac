"""What the benchmark table is made of: models to draw, tools to draw them with, and ways to measure both."""
