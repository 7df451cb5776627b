"""What stands in front of, or beside, a backend: the demo, and whatever hooks add."""
