"""What the journal calls the events that operators look for; never changed once published.

`journalctl MESSAGE_ID=...` finds them whatever their wording, also after updates.
"""

from __future__ import annotations

MESSAGE_IDS = {
    "worker_started": "dd29258e04e241b18a05b404cf916518",
    "ready": "4520ebe8c83b43c3bbb5d581019103dd",
    "worker_stopped": "f7fea39735cc4960a77b83c6fbda66eb",
    "bootstrap_failed": "352d5c36ab504631bd0d37dc280ae857",
    "deploy_finished": "6f2049bb00a845669711c8077a61f3e0",
    "reload_finished": "df93a390b6d146e99b732891b12acbd0",
    "reload_failed": "3eaacd351d6f4a099fec90a9c055adf1",
    "drain_started": "72d50734dbec4716807ffd00f1c7ad9a",
    "quiet": "87aa4683563f44cd86868d16479c6f96",
    "resumed": "3d35e470aedb41a28ca5724e1d520d5a",
    "task_failed": "8fbf6af537cd4d9089d6d5d16936edcd",
    "task_archived": "d41410585f8d40079809bd6ce92e9f11",
    "child_crashed": "487bc2f84c5a4a7c88ffea2bbd5ed14d",
    "executor_degraded": "fd8ae3dc4f434f408df195eecbf746dd",
    "lease_lost": "235c15f0e7ab4264b169595778c26ac6",
    "lease_recovered": "d4534f5af5a947dd8fd1b23c7c3e5627",
    "backend_unavailable": "6327b23345eb4680b4de3e425ffb33c0",
    "backend_back": "77d5e5b3da6a47e1bb79912786e0650d",
}
"""Action -> id."""
