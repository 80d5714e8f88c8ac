"""The anywidget classes: one thin file a view, each with its script in ``lwidgets/static``."""
