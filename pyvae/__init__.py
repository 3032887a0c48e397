"""pyvae: VAEs of published write-ups in PyTorch, to be held against their R originals."""

from pyvae.data import load_data
from pyvae.draws import Draws
from pyvae.engine import PyTorchEngine
from pyvae.errors import UserError
from pyvae.recipes import RECIPES, get_recipe
from pyvae.settings import Settings
from pyvae.trace import Trace
from pyvae.training import train

__all__ = [
    "RECIPES",
    "Draws",
    "PyTorchEngine",
    "Settings",
    "Trace",
    "UserError",
    "get_recipe",
    "load_data",
    "train",
]
