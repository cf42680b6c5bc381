"""The event log and its JSON keys."""
