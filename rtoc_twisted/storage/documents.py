"""JSON values as they are kept."""

from __future__ import annotations

import json
from typing import Any

from ..errors import BadValue


def to_text(value: Any, what: str) -> str:
    """Return a value as JSON text; raises BadValue, naming `what`, where JSON has no word for it."""
    try:
        return json.dumps(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise BadValue(f"{what}: {error}") from None


def from_text(text: str) -> Any:
    """Return the value of a JSON text."""
    return json.loads(text)
