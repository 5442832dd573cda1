#!/usr/lib/runqy-worker/bin/python3 -I
"""Starts runqy-worker in its own environment, whatever PYTHONPATH and the like say."""

import sys

from runqy_worker.cli.main import main

sys.exit(main())
