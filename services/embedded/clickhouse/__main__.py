"""`python -m services.embedded.clickhouse`: the embedded ClickHouse until SIGTERM or SIGINT."""

from __future__ import annotations

import os
import sys

from services.embedded.clickhouse.server import serve
from services.runtime.logging import configure_logging
from services.runtime.settings import Settings


def main() -> None:
    """Serve with the settings of the environment; exit status 1 and one line on standard error when that fails."""
    # The engine takes descriptor 2 for itself; our lines keep going where standard error went.
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1)
    settings = Settings()
    configure_logging(settings, "clickhouse")
    sys.exit(serve(settings))


if __name__ == "__main__":
    main()
