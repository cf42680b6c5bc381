"""What is kept beside an event and may change after it was raised: JSON, in the table `notes`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from ..errors import BadValue
from ..model import Event
from .documents import from_text, to_text

Texts = Mapping[str, str | None]
"""JSON texts by the name of the note; None where there is none."""

_NAMES = ("alarm", "cause")


class Written(NamedTuple):
    """An event as everybody hears of it, and the JSON texts of its value and its notes."""

    event: Event
    value: str
    notes: Texts


def write_event(event: Event, number: int) -> Written:
    """Return an event as it is kept under that number; raises BadValue where JSON has no word for it."""
    value = to_text(event.value, "event.value")
    notes = write_notes({name: getattr(event, name) for name in _NAMES})
    return Written(
        replace(
            event, number=number, value=from_text(value), **{name: read_note(notes[name]) for name in _NAMES}
        ),
        value,
        notes,
    )


def write_notes(notes: Mapping[str, Any]) -> Texts:
    """Return the JSON texts of notes; raises BadValue for a name that there is not, and as `to_text` does."""
    for name in notes:
        if name not in _NAMES:
            raise BadValue(f"event.{name}: a note is one of {', '.join(_NAMES)}")
    return {name: None if value is None else to_text(value, f"event.{name}") for name, value in notes.items()}


def read_notes(texts: Texts) -> dict[str, Any]:
    """Return the notes that there are."""
    return {name: from_text(text) for name, text in texts.items() if text is not None}


def read_note(text: str | None) -> Any:
    """Return the note of a JSON text, None where there is none."""
    return None if text is None else from_text(text)
