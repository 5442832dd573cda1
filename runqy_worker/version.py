"""The version of this package; what was built, and when, is found by `runqy_worker.service.build`."""

__version__ = "0.1.0"
