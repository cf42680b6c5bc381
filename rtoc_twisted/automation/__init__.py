"""The JSON keys of automation."""
