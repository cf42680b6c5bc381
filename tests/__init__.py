"""The tests, for `twisted.trial`."""
