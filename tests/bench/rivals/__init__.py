"""The same small job in other frameworks, each run by its own interpreter: milliseconds of stutter by room and 10 s."""
