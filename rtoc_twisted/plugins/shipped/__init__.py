"""Plugins that come with the server; each is named after its file, as clients of RTOC know it."""
