"""What Lambent costs, beside what it could cost at the least: `python -m benchmarks`."""
