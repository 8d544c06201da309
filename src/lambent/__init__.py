"""Lambent: a self-hosted function service that speaks AWS Lambda's own wire API."""

from lambent import compiled

__version__ = "0.1.0"

compiled.use()
