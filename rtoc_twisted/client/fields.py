"""Requests with values, as they go over the wire (protocol section 5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

Hold = Literal["off", "on", "mergeX", "mergeY"]
Ack = Literal["received", "stored", "durable"]


def sample_fields(
    device: str,
    values: Mapping[str, float],
    units: Mapping[str, str] | None,
    x: float | Sequence[float] | None,
) -> dict[str, Any]:
    """Return the request that appends one value to each of a device's signals; x: one for all, or each."""
    units = units or {}
    fields: dict[str, Any] = {
        "dname": device,
        "sname": list(values),
        "y": list(values.values()),
        "unit": [units.get(name, "") for name in values],
    }
    if x is not None:
        fields["x"] = [x] * len(values) if isinstance(x, (int, float)) else list(x)
    return fields


def plot_fields(
    device: str, signal: str, y: Sequence[float], x: Sequence[float] | None, unit: str, hold: Hold
) -> dict[str, Any]:
    """Return the request that sends a whole signal."""
    fields: dict[str, Any] = {"plot": True, "dname": device, "sname": signal, "y": y, "unit": unit}
    if x is not None:
        fields["x"] = x
    if hold != "off":
        fields["hold"] = hold
    return fields
