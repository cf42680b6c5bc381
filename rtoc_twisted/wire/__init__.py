"""Bytes to values and values to bytes: no I/O, no component."""
