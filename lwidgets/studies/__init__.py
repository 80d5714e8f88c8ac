"""Ready-made studies: a surface around a model, a curve between two, how they are connected, mixed and merged."""
