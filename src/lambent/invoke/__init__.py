"""The caller's side of an invocation: which version is meant, and one way to run it."""
