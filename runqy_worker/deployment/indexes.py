"""Private package indexes: where they are, and the credentials, which only the installer's own process sees."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit, urlunsplit

if TYPE_CHECKING:
    from runqy_worker.config.model import DeploymentConfig
    from runqy_worker.deployment.secret_files import SecretFiles


class Indexes:
    """The package indexes of the configuration.

    Args:
        config: Addresses, user name and password. Credentials inside an address are moved out of it.
    """

    def __init__(self, config: DeploymentConfig) -> None:
        self._logins: dict[str, tuple[str, str]] = {}
        self.main = self._clean(config.index_url, config)
        self.extra = tuple(self._clean(url, config) for url in config.extra_index_urls)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not show in output."""
        return tuple(password for _, password in self._logins.values() if password)

    @property
    def identity(self) -> str:
        """The addresses, for an environment's key. Not the credentials: a new password installs the same packages."""
        return "\n".join((self.main, *self.extra))

    def variables(self, secrets: SecretFiles) -> dict[str, str]:
        """Variables for pip and uv. The credentials are in a file of this user that goes away with the deploy."""
        found: dict[str, str] = {}
        if self.main:
            found |= {"PIP_INDEX_URL": self.main, "UV_DEFAULT_INDEX": self.main}
        if self.extra:
            found |= {"PIP_EXTRA_INDEX_URL": " ".join(self.extra), "UV_INDEX": " ".join(self.extra)}
        if self._logins:
            lines = (f"machine {host} login {user} password {word}\n" for host, (user, word) in self._logins.items())
            found["NETRC"] = str(secrets.write("netrc", "".join(lines)))
        return found

    def _clean(self, url: str, config: DeploymentConfig) -> str:
        parts = urlsplit(url)
        if not parts.hostname:
            return url
        user = unquote(parts.username or "") or config.index_username
        password = unquote(parts.password or "") or config.index_password
        if user or password:
            self._logins[parts.hostname] = (user or "__token__", password)
        netloc = parts.netloc.rpartition("@")[2]
        return urlunsplit((parts.scheme, netloc, parts.path, parts.query, parts.fragment))
