"""`python -m runqy_worker` is the same as `runqy-worker`."""

import sys

from runqy_worker.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
