"""What an explorer shows, as a reader finds it."""

from lwidgets.pictures import Curves, Surface, Table, Words


def picture(explorer, panel):
    """What a panel shows; None for nothing."""
    return explorer.study.pictures[panel]


def view(explorer, panel):
    """The live widget that draws a panel."""
    return explorer.panels.places[panel].view


def on_show(explorer):
    """The panels that are on the page."""
    return [name for name, place in explorer.panels.places.items() if place.children]


def text_of(explorer, *panels):
    """All words of panels, by default of all of them, a line each."""
    shown = (explorer.study.pictures[name] for name in panels or explorer.study.pictures)
    return "\n".join(line for one in shown if one is not None for line in _lines(one))


def curve_of(explorer, panel, label):
    """The series of this label."""
    (found,) = (one for one in picture(explorer, panel).items if getattr(one, "label", None) == label)
    return found


def _lines(shown):
    if isinstance(shown, Table):
        return [shown.title, " | ".join(shown.head), *(" | ".join(row) for row in shown.rows), *shown.notes]
    if isinstance(shown, Words):
        return [f"{shown.title}. {shown.text}"]
    return [shown.description] if isinstance(shown, Surface) else [shown.caption] if isinstance(shown, Curves) else []
