"""A simulated fleet on one Redis: what idle and busy workers cost it. `python -m benchmarks.fleet --help`."""
