"""Programs that measure the worker, with reference loops beside it in the same run. `python -m benchmarks --help`."""
