"""Which proxy a worker's environment names for an address."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping


def proxy_for(url: str, environ: Mapping[str, str]) -> str:
    """The proxy for `url`; empty when there is none, or NO_PROXY excepts its host."""
    from requests.utils import should_bypass_proxies  # noqa: PLC0415 - with it comes all of requests

    scheme = urlsplit(url).scheme
    names = (f"{scheme}_proxy", f"{scheme}_proxy".upper(), "all_proxy", "ALL_PROXY")
    proxy = next((environ[name] for name in names if environ.get(name)), "")
    if not proxy or should_bypass_proxies(url, environ.get("no_proxy") or environ.get("NO_PROXY") or ""):
        return ""
    return proxy
