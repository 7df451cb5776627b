"""Backends that are each broken in one way, to see that the kit finds it by the fitting clause."""
