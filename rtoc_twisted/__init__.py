"""A server that records measurements and controls devices over the RTOC protocol."""

__version__ = "0.1.0"
