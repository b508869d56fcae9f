"""`python -m services` is `roompulse`."""

from services.cli import main

main(prog_name="roompulse")
