"""What a step of a recipe needs to know of the model it gets, so that recipes are checked before any compute."""

from compression.checkpoints.facts import Architecture
from compression.settings import Settings


class ModelShape(Settings):
    """The part of a model that the methods change or depend on."""

    architecture: Architecture
    layers: int
