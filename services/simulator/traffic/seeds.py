"""Randomness of its own for every thing that is simulated, so that nothing depends on the order of computing."""

from __future__ import annotations

from hashlib import sha256
from random import Random


def random_of(*path: object) -> Random:
    """The random numbers of one thing, named by a path that starts with the seed."""
    return Random("/".join(map(str, path)))  # noqa: S311 - simulation, not secrecy


def identifier(*path: object) -> str:
    """32 hexadecimal digits that name one thing."""
    return sha256("/".join(map(str, path)).encode()).hexdigest()[:32]
