"""The key `logger`: information, settings, clearing, exports and backups; and `hello`."""
