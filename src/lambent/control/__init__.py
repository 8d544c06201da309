"""What should exist: functions, versions, aliases and their settings. Writes the store, calls nobody."""

from lambent.control.operations import Control

__all__ = ["Control"]
