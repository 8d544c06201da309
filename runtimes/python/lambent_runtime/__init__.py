"""Lambent's client of the Lambda Runtime API for Python functions: standard library only, Python 3.8 and later.

Importing it reads nothing and starts nothing, so a process may import it once and fork many runtimes from there;
each then calls `loop.main()`. What is imported eagerly is kept small, because every cold start pays for it.
"""
