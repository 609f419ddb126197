"""adding-a-method: its verb, whole, needs no file."""

from tests.docs.world import World

WORLD = World(lambda folder: None)
