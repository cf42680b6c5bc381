"""The sockets, the page and the endpoints."""
