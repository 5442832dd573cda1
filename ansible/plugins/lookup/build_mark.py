"""Tells two builds of a file apart."""

from __future__ import annotations

DOCUMENTATION = """
name: build_mark
short_description: The first 8 digits of the SHA-256 of files on the controller
description:
  - Looks for the files where M(ansible.builtin.copy) does, in C(files) of roles and playbooks too.
  - Unlike P(ansible.builtin.file#lookup) it takes files that are no text.
version_added: 0.1.0
author:
  - The runqy-worker authors
options:
  _terms:
    description: Paths of the files.
    type: list
    elements: str
    required: true
"""

EXAMPLES = """
- name: Show the mark of a wheel
  ansible.builtin.debug:
    msg: "{{ lookup('runqy.worker.build_mark', 'runqy_worker-0.1.0-py3-none-any.whl') }}"
"""

RETURN = """
_raw:
  description: One mark per file.
  type: list
  elements: str
"""

import hashlib
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleLookupError

from ansible.plugins.lookup import LookupBase

LENGTH = 8


class LookupModule(LookupBase):
    """What Ansible asks for."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[str]:
        """One mark per file."""
        self.set_options(var_options=variables, direct=kwargs)
        return [self._mark(term, variables) for term in terms]

    def _mark(self, term: str, variables: dict[str, Any] | None) -> str:
        path = self.find_file_in_search_path(variables, "files", term, ignore_missing=True)
        if path is None:
            raise AnsibleLookupError(f"{term}: there is no such file on the controller")
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:LENGTH]
