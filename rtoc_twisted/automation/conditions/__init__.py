"""The language of conditions: Python's expressions over signals, and nothing else of Python.

    condition = parse("Freezer.Temperature.latest > -12 and not nodata(Freezer.Temperature, 600)")
    condition.uses      # which value belongs into which slot
    condition.holds([-11.5, 1700000000.0], 1700000060.0)

`language` has the tables of what there is; `source`, `naming`, `arguments` and `reading` make of a text its
checked `tree`; `compile` makes code of that for one evaluation, and `sweep` computes it for columns.
"""

from __future__ import annotations

from .condition import Condition, parse, values_told
from .uses import EvaluationFailed, Unknown, Use, View

__all__ = ["Condition", "EvaluationFailed", "Unknown", "Use", "View", "parse", "values_told"]
