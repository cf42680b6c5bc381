"""The server's side of scripts: their processes, what they ask and do, and the queues in which they wait."""

from .actions import Actions
from .outcome import Outcome, ScriptPolicy
from .process import spawn

__all__ = ["Actions", "Outcome", "ScriptPolicy", "spawn"]
