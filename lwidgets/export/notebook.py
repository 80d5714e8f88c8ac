"""How a notebook holds a live widget."""

WIDGET = "application/vnd.jupyter.widget-view+json"
"""How Jupyter shows a live widget."""
LIVE = "application/vnd.lwidgets.live.v1+json"
"""The same data under a name that only our extension for JupyterLab and Notebook 7 reads.

A program that makes a web page of a notebook prefers `WIDGET` to a still where the notebook holds the widgets' state
("Save Widget State"), and without a network then shows nothing.
"""
