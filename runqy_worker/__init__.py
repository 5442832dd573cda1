"""runqy-worker: takes tasks from a queue, runs them in supervised processes, never loses one.

from runqy_worker import Worker, load_config

worker = Worker(load_config("config.yml"))
worker.bootstrap()
worker.run()
"""

from typing import TYPE_CHECKING

from runqy_worker.version import __version__

if TYPE_CHECKING:
    from runqy_worker.app.worker import Worker
    from runqy_worker.config.loading import load_config
else:  # hidden from type checkers, for which every name would exist otherwise

    def __getattr__(name: str) -> object:
        """Import the public names when they are asked for: `runqy-worker version` should not load a Redis client."""
        if name == "Worker":
            from runqy_worker.app.worker import Worker  # noqa: PLC0415 - lazy on purpose

            return Worker
        if name == "load_config":
            from runqy_worker.config.loading import load_config  # noqa: PLC0415 - lazy on purpose

            return load_config
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["Worker", "__version__", "load_config"]
