"""Lambent: a self-hosted function service that speaks AWS Lambda's own wire API."""

__version__ = "0.1.0"
