"""Which records of an event source reach the function: AWS's filter patterns, checked once and compiled to closures.

Control checks patterns with it when a mapping is made; pollers ask it about each record
(reference/event-sources.md §7).
"""

from lambent.model.event_filter.rules import InvalidPattern
from lambent.model.event_filter.source import FilterSource, RecordFilter, compile_filter

__all__ = ["FilterSource", "InvalidPattern", "RecordFilter", "compile_filter"]
