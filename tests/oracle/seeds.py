"""Which scenarios are drawn: `ORACLE_SCENARIOS=3000` makes it more of them, `ORACLE_SEED` others."""

from __future__ import annotations

import os


def runs(scenarios: int, together: int) -> list[range]:
    """The seeds of each run; `scenarios` is how many there are in all where nothing else is asked for."""
    first = int(os.environ.get("ORACLE_SEED", "1"))
    end = first + int(os.environ.get("ORACLE_SCENARIOS", str(scenarios)))
    return [range(start, min(start + together, end)) for start in range(first, end, together)]
