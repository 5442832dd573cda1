"""How git gets in: the environment and settings of its commands. Nothing secret in argv, addresses or config files.

A token lies in a short-lived file of this user, and a credential helper that git runs only for the repository's
own host hands it over. So a submodule or a redirect to another host never sees it. (GIT_ASKPASS would be asked
for every host, and needs an executable file, which hardened hosts forbid in their temporary directories.)
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from runqy_worker.deployment.remote import Remote, Transport

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from runqy_worker.config.model import GitConfig
    from runqy_worker.deployment.secret_files import SecretFiles

_USERS = {"github.com": "x-access-token", "bitbucket.org": "x-token-auth"}
_ANY_USER = "oauth2"  # GitLab wants this one; servers with plain tokens take any
_KEPT = {"GIT_SSL_CAINFO", "GIT_SSL_CAPATH", "GIT_SSL_NO_VERIFY", "GIT_EXEC_PATH", "GIT_PROXY_COMMAND"}
_DROPPED = {"SSH_ASKPASS", "SSH_ASKPASS_REQUIRE"}


class GitAccess:
    """Settings for git commands that concern one remote.

    Args:
        remote: The repository.
        config: Keys, known hosts, certificates.
        token: The server's token; a configured one wins, one from the address comes last.
        secrets: Where the token is laid down for git.
        environ: The service's environment, without what is the worker's alone.
        state: Directory for a known_hosts file of our own and the settings that git reads from a file.
    """

    def __init__(
        self,
        remote: Remote,
        config: GitConfig,
        *,
        token: str,
        secrets: SecretFiles,
        environ: Mapping[str, str],
        state: Path,
    ) -> None:
        self._remote = remote
        self._config = config
        self._state = state
        self.username, self.password = _credentials(remote, config.token or token)
        self._helper = ""
        if remote.transport is Transport.HTTP and (self.password or self.username):
            file = secrets.write("git-credentials", f"username={self.username}\npassword={self.password}\n")
            self._helper = f'!f() {{ if test "$1" = get; then cat {shlex.quote(str(file))}; fi; }}; f'
        self._environ = environ
        self._settings_file = _write_settings(remote, state)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not show in output."""
        return tuple(value for value in (self.password, self._config.token, self._remote.password) if value)

    def settings(self) -> list[tuple[str, str]]:
        """Git settings as (key, value), in an order that matters."""
        pairs = [
            ("core.hooksPath", "/dev/null"),
            ("core.askPass", ""),
            ("gc.auto", "0"),
            ("maintenance.auto", "false"),
            ("advice.detachedHead", "false"),
            ("credential.helper", ""),
        ]
        if self._helper:
            pairs.append((f"credential.{self._remote.origin}.helper", self._helper))
        return pairs

    def arguments(self) -> list[str]:
        """The settings as options of `git`."""
        return [word for key, value in self.settings() for word in ("-c", f"{key}={value}")]

    def environment(self) -> dict[str, str]:
        """The whole environment of a git command."""
        kept = {
            name: value
            for name, value in self._environ.items()
            if name not in _DROPPED and (not name.startswith("GIT_") or name in _KEPT)
        }
        allowed = "http:https:ssh:git"
        local = self._remote.transport is Transport.LOCAL
        kept |= {
            "LC_ALL": "C",
            "LANGUAGE": "",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": "",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": str(self._settings_file),
            # A repository from afar must not make us clone from paths on this host.
            "GIT_ALLOW_PROTOCOL": f"{allowed}:file" if local else allowed,
            "GIT_SSH_COMMAND": self._ssh(),
            "GIT_SSH_VARIANT": "ssh",
        }
        if self._config.ca_file:
            kept["GIT_SSL_CAINFO"] = self._config.ca_file
        return kept

    def for_others(self) -> dict[str, str]:
        """Variables that give the same access to programs which run git themselves (installers)."""
        variables = {"GIT_TERMINAL_PROMPT": "0", "GIT_ASKPASS": ""}
        if self._remote.transport is Transport.SSH:
            variables["GIT_SSH_COMMAND"] = self._ssh()
        if self._helper:
            variables["GIT_CONFIG_COUNT"] = "1"
            variables["GIT_CONFIG_KEY_0"] = f"credential.{self._remote.origin}.helper"
            variables["GIT_CONFIG_VALUE_0"] = self._helper
        return variables

    @property
    def known_hosts(self) -> str:
        """The known_hosts file in use; empty for the user's own."""
        if self._config.known_hosts:
            return self._config.known_hosts
        return "" if self._config.strict_host_key_checking else str(self._state / "known_hosts")

    def _ssh(self) -> str:
        words = ["ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=30", "-o", "ServerAliveInterval=15"]
        checking = "yes" if self._config.strict_host_key_checking else "accept-new"
        words += ["-o", f"StrictHostKeyChecking={checking}"]
        if self.known_hosts:
            words += ["-o", f"UserKnownHostsFile={_ssh_value(self.known_hosts)}"]
        if self._config.ssh_key:
            words += ["-i", self._config.ssh_key.replace("%", "%%")]
            words += ["-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none"]
        return shlex.join(words)


def _write_settings(remote: Remote, state: Path) -> Path:
    """Git takes `safe.directory` from files only, and hands no `-c` to the other end of a local fetch."""
    path = state / f"{remote.key}.gitconfig"
    text = "# Written by runqy-worker at each deploy.\n"
    if remote.transport is Transport.LOCAL:
        text += "[safe]\n\tdirectory = *\n"  # the configured repository may belong to another user
    if not path.exists() or path.read_text() != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return path


def _credentials(remote: Remote, token: str) -> tuple[str, str]:
    if token:
        return remote.username or _USERS.get(remote.host, _ANY_USER), token
    return remote.username, remote.password


def _ssh_value(path: str) -> str:
    """Quoted for ssh's own option parser, which also expands percent signs."""
    return '"{}"'.format(path.replace("%", "%%"))
