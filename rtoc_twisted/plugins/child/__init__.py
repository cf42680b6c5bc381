"""The process that one plugin runs in: the standard library, msgspec, and nothing of the server."""
