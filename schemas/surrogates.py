"""Halves of characters: what software leaves that cuts a text in the middle of an emoji."""

from __future__ import annotations

import re

_ESCAPE = re.compile(
    rb"\\(?:"
    rb"u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"  # a whole character
    rb"|(u[dD][89a-fA-F][0-9a-fA-F]{2})"  # half of one
    rb"|.)",  # any other escape, a backslash in particular
    re.DOTALL,
)


def replace_lone_surrogates(text: bytes) -> bytes:
    r"""JSON with `\ufffd` where an escape like `\ud83d` stands alone, which no decoder here would take.

    Everything else keeps its bytes.
    """
    return _ESCAPE.sub(lambda found: rb"\ufffd" if found[1] else found[0], text)
