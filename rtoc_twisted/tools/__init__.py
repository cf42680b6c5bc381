"""Commands for people who run a server, on its files."""
