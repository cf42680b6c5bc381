"""The JSON keys of plugins."""
