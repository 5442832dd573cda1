#!/usr/bin/python
"""What of runqy-worker is on a host: one look, however many instances there are."""

from __future__ import annotations

DOCUMENTATION = """
module: worker_info
short_description: Looks at what of runqy-worker is on a host
description:
  - Says which versions are installed, what state the instances are in, and whether they run with what is on the disk.
  - Changes nothing. The content of secrets is not read.
version_added: 0.1.0
author:
  - The runqy-worker authors
options:
  instances:
    description: Names of instances to look at, besides those that have files on the host.
    type: list
    elements: str
    default: []
  packages:
    description: Names of Debian packages, of which those that are not installed are returned.
    type: list
    elements: str
    default: []
  users:
    description: Names of users, of which those that the host does not know are returned.
    type: list
    elements: str
    default: []
  wanted_version:
    description: A version to compare the installed one with.
    type: str
    default: ""
  prefix:
    description: Directory of the environments that were made from wheels.
    type: path
    default: /opt/runqy-worker
attributes:
  check_mode:
    description: Does the same in check mode.
    support: full
  diff_mode:
    description: There is nothing to show.
    support: none
"""

EXAMPLES = """
- name: Look at the host
  runqy.worker.worker_info:
    instances: [inference]
  register: found
"""

RETURN = """
method:
  description: How it is installed, V(deb) or V(wheel); empty when it is not.
  type: str
  returned: always
version:
  description: The installed version; the package's own, or the environment's name.
  type: str
  returned: always
relation:
  description: Whether the wanted version is V(newer), V(older) or the V(same); empty when one of them is not known.
  type: str
  returned: always
root:
  description: Whether the module runs as root.
  type: bool
  returned: always
environments:
  description: Names of the environments that were made from wheels, and that the host's Python can run; oldest first.
  type: list
  elements: str
  returned: always
kept_packages:
  description: Files of the packages that were installed from files, the oldest first.
  type: list
  elements: str
  returned: always
foreign_uv:
  description: Path of a uv that somebody else put where the worker looks; empty when there is none.
  type: str
  returned: always
files:
  description: Directory of the unit files that came with the program; empty when it is not installed.
  type: str
  returned: always
slice_drop_in:
  description: Whether the role has set limits for all instances together.
  type: bool
  returned: always
empty_after_removal:
  description: Directories that the role may have made, and that it removes when they are empty.
  type: list
  elements: str
  returned: always
missing_packages:
  description: Those of O(packages) that are not installed.
  type: list
  elements: str
  returned: always
python_apt:
  description: Whether the apt module can work in check mode, for which it needs lists of packages as well.
  type: bool
  returned: always
accounts:
  description: Whether the user, the groups and the directories are there that the units need.
  type: bool
  returned: always
unknown_users:
  description: Those of O(users) whom the host does not know.
  type: list
  elements: str
  returned: always
admins:
  description: Members of the group that may command the workers.
  type: list
  elements: str
  returned: always
systemd:
  description: The version of systemd; 0 when it does not run the host.
  type: int
  returned: always
daemon_reload:
  description: Whether systemd has not read all unit files yet.
  type: bool
  returned: always
instances:
  description: By name; see the code for the keys of each.
  type: dict
  returned: always
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.runqy.worker.plugins.module_utils.looking import look


def main() -> None:
    """Look, and tell."""
    module = AnsibleModule(
        argument_spec={
            "instances": {"type": "list", "elements": "str", "default": []},
            "packages": {"type": "list", "elements": "str", "default": []},
            "users": {"type": "list", "elements": "str", "default": []},
            "wanted_version": {"type": "str", "default": ""},
            "prefix": {"type": "path", "default": "/opt/runqy-worker"},
        },
        supports_check_mode=True,
    )
    module.exit_json(changed=False, **look(module.run_command, **module.params))


if __name__ == "__main__":
    main()
