"""Usage: what customers pay by. Seconds are exact; rounding is the very last step."""
