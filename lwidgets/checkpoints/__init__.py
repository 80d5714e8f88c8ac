"""From what a user has of a model to its tensors by name, and from those to the names of another model.

`files` reads files and folders, `nested` finds the model in what a training script saved, `names` is the one list of
rules by which two sets of names are told to be the same, and `fit` holds tensors against what a model looks like.
"""

from lwidgets.checkpoints.files import read_checkpoint
from lwidgets.checkpoints.fit import Fit, Untied, fit
from lwidgets.checkpoints.names import Match, is_buffer, is_counter, match, shared_wrapper, unwrapped
from lwidgets.checkpoints.nested import model_in

__all__ = [
    "Fit",
    "Match",
    "Untied",
    "fit",
    "is_buffer",
    "is_counter",
    "match",
    "model_in",
    "read_checkpoint",
    "shared_wrapper",
    "unwrapped",
]
