"""Runs in a machine: serves /srv/git over https to who has the token. Arguments: directory, port, token."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from support.git_site import GitHTTP, self_signed


def main() -> None:
    """Serve until SIGTERM; the file `ready` tells that it does."""
    directory, port, token = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    context, _ = self_signed(directory)
    with GitHTTP(Path("/srv/git"), token=token, tls=context, port=port):
        (directory / "ready").touch()
        signal.sigwait({signal.SIGTERM})


if __name__ == "__main__":
    main()
