"""The user that a worker runs as, and what that user may do to files."""

from __future__ import annotations

import os
import pwd
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

READ, WRITE, EXECUTE = 4, 2, 1


@dataclass(frozen=True, slots=True)
class Account:
    """A user.

    Attributes:
        name: Of the user.
        uid: Numeric id.
        gid: Id of the main group.
        groups: Ids of all its groups.
        home: Home directory.
    """

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str

    def may(self, path: Path, wanted: int) -> bool:
        """Whether the permissions let this user do that (`READ`, `WRITE`, `EXECUTE`, added) to an existing path.

        Also asks whether it may pass through all directories above.
        """
        return all(self._allows(above, EXECUTE) for above in path.absolute().parents) and self._allows(path, wanted)

    def _allows(self, path: Path, wanted: int) -> bool:
        if self.uid == 0:
            return True
        try:
            status = path.stat()
        except PermissionError:  # who asks may not even look; whom it is asked for may
            return True
        except OSError:
            return False
        mode = stat.S_IMODE(status.st_mode)
        if status.st_uid == self.uid:
            mode >>= 6
        elif status.st_gid in self.groups:
            mode >>= 3
        return mode & wanted == wanted


def account_of(name: str) -> Account | None:
    """The user of that name; None when there is none."""
    try:
        return _account(pwd.getpwnam(name))
    except KeyError:
        return None


def own_account() -> Account:
    """The user that runs this."""
    try:
        return _account(pwd.getpwuid(os.geteuid()))
    except KeyError:  # containers run programs as users that nobody wrote down
        uid, gid = os.geteuid(), os.getegid()
        return Account(str(uid), uid, gid, (gid, *os.getgroups()), os.environ.get("HOME", "/"))


def _account(entry: pwd.struct_passwd) -> Account:
    groups = tuple(os.getgrouplist(entry.pw_name, entry.pw_gid))
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, groups, entry.pw_dir)
