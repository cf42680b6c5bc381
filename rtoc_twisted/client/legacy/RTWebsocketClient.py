"""Let `import RTWebsocketClient`, as programs written for RTOC say it, find our client.

Installed as a top-level module (pyproject.toml); new code imports `rtoc_twisted.client`.
"""

from __future__ import annotations

from rtoc_twisted.client.rtwebsocketclient import RTWebsocketClient

__all__ = ["RTWebsocketClient"]
