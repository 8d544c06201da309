"""Drivers of event sources: one module per kind, chosen by `SourcesByKind`."""
