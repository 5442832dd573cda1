"""A worker as a program that uses the library makes it: failed tasks wait for a moment only."""

from __future__ import annotations

import argparse
import asyncio
import random

from runqy_worker.app.worker import Worker
from runqy_worker.cli.run import serve
from runqy_worker.config.loading import load_config
from runqy_worker.telemetry.logs import configure_logging

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", required=True)
    parser.add_argument("--retry-delay", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    config = load_config(args.config)
    worker = Worker(
        config,
        retry_delay=lambda _retried, _error, _task: args.retry_delay,
        logger=configure_logging(config.log),
        rng=random.Random(args.seed),
    )
    asyncio.run(serve(worker))
