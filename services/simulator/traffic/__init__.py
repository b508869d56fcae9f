"""What simulated rooms say: seeded and pure. No input or output, no clock; the same scenario is the same bytes."""
