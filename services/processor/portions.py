"""Cutting what comes one after another into what is handled together."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

Item = TypeVar("Item")


def portions(items: Iterable[Item], weight: Callable[[Item], int], enough: int) -> Iterator[list[Item]]:
    """The items in their order, so many together that their weight is enough. Takes none before it is wanted."""
    portion: list[Item] = []
    heavy = 0
    for item in items:
        portion.append(item)
        heavy += weight(item)
        if heavy >= enough:
            yield portion
            portion, heavy = [], 0
    if portion:
        yield portion
