"""Showing values to people without showing secrets."""

from __future__ import annotations

import json
import re

MASK = "********"
_LONGEST = 80
_USERINFO = re.compile(r"(?<=://)\S*@")


def mask_urls(text: str) -> str:
    """The text with user names and passwords in URLs hidden."""
    return _USERINFO.sub(f"{MASK}@", text)


def quoted(text: str, *, secret: bool = False) -> str:
    """How an error shows an offending text: in quotes, shortened, and never a secret."""
    if secret:
        return MASK
    shown = mask_urls(text)
    if len(shown) > _LONGEST:
        shown = shown[: _LONGEST - 1] + "…"
    return json.dumps(shown, ensure_ascii=False)
