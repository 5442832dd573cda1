"""What the man page says beyond the program's own tables: files, signals, variables of the host, examples."""

from __future__ import annotations

FILES = (
    ("./config.yml, /etc/runqy-worker/config.yml", "The main file; the first that is there, unless `--config` names another."),
    ("/etc/runqy-worker/instances/NAME.yml", "What differs for the instance NAME, laid over the main file."),
    ("/etc/runqy-worker/instances/NAME.env", "Variables for the unit of that instance. No secrets: task code sees them."),
    (
        "/etc/credstore/runqy-worker.NAME.CREDENTIAL, /etc/credstore.encrypted/runqy-worker.NAME.CREDENTIAL.encrypted",
        "Secrets of the instance, which its unit loads. CREDENTIAL is one of {credentials}.",
    ),
    ("/var/lib/runqy-worker/NAME", "Deployed releases, environments, and the state of the instance."),
    ("/var/cache/runqy-worker/NAME, /var/log/runqy-worker/NAME", "Where its task code may keep what can be made again, and logs of its own."),
    ("/run/runqy-worker/NAME/control.sock", "Where the commands reach the running worker: root and the group `runqy-admin` do."),
    ("/run/runqy-worker/NAME/health.sock", "Where probes and Prometheus ask, unless `health.address` says otherwise."),
    (
        "runqy-worker@.service, runqy-worker.target, runqy.slice",
        "The unit of an instance, what starts and stops all enabled instances, and the slice that they run in.",
    ),
    ("/usr/share/doc/runqy-worker", "The handbook (operations.md), all settings (configuration.md), and examples."),
)
"""Paths, and what is there."""

SIGNALS = (
    ("SIGTERM, SIGINT", "Drain: nothing more is claimed, running tasks may end within `worker.shutdown_timeout`, what is left goes back to the front of its queue; then exit with 0. A second one does not wait for running tasks."),
    ("SIGTSTP", "Quiet: nothing more is claimed, running tasks go on."),
    ("SIGCONT", "Claim again."),
    ("SIGHUP", "Ask the server anew, deploy the newest commit, and switch to it when it is ready. A failure leaves the old release serving; unlike `runqy-worker deploy --wait`, a signal can't tell the sender."),
)
"""Signals that a running worker knows, and what they do."""

VARIABLES = (
    ("NOTIFY_SOCKET, WATCHDOG_USEC", "Set by systemd: where the worker tells that it is ready, what it does, and that it is alive."),
    ("RUNTIME_DIRECTORY", "Set by systemd: where the worker's sockets are made."),
    ("CREDENTIALS_DIRECTORY", "Set by systemd: where the credentials of the unit are."),
    ("JOURNAL_STREAM", "Set by systemd: with it, lines go to the journal with fields of their own (`log.format`)."),
    ("HTTPS_PROXY, NO_PROXY", "How the server is reached, unless `server.proxy` says otherwise."),
)
"""Variables of the host that the worker looks at."""

EXAMPLES = (
    (
        "An instance on a host with systemd, from its files to the first log lines:",
        """
        runqy-worker validate --instance inference
        systemctl enable --now runqy-worker@inference
        systemctl status runqy-worker@inference
        journalctl --unit runqy-worker@inference --follow
        """,
    ),
    (
        "The newest commit, waiting until it serves or failed:",
        """
        systemctl reload runqy-worker@inference
        """,
    ),
    (
        "Everything that is known of one task, with what it printed:",
        """
        journalctl RUNQY_TASK_ID=c75c5bea-4cdb-49ba-a8bc-4693f5c3865e
        """,
    ),
    (
        "Task code on a desk, with a Redis and a server of its own:",
        """
        runqy-worker dev . --watch
        """,
    ),
)
"""What one does with the program, and how."""

SEE_ALSO = ("systemctl(1)", "journalctl(1)", "systemd-creds(1)", "systemd.exec(5)", "redis-cli(1)", "git(1)")
