"""The worker manager: counts concurrency, assigns environments to invokes, places new ones, lets idle ones go."""
