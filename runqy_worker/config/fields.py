"""How a setting describes itself: its text for the reference, its variable, its unit and its bounds.

The model is the single source: loading, validation, `config show` and `docs/configuration.md` all read it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Setting:
    """What is known of one setting beside its type and default.

    Attributes:
        doc: One or two sentences for the reference.
        kind: `text`, `int`, `float`, `bool`, `duration` (seconds), `size` (bytes), `path`, `list`.
        env: Environment variables that set it, the preferred one first.
        secret: It is masked wherever it is shown, and may come from a file or a systemd credential.
        choices: The allowed texts, when limited.
        minimum: The smallest allowed number.
        maximum: The largest allowed number.
        credential: Name of the systemd credential that sets it: its content, or its path for a `path`.
    """

    doc: str
    kind: str = "text"
    env: tuple[str, ...] = ()
    secret: bool = False
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    credential: str = ""


def setting(
    default: Any,
    doc: str,
    *,
    kind: str = "text",
    env: str | tuple[str, ...] = (),
    secret: bool = False,
    choices: tuple[str, ...] = (),
    minimum: float | None = None,
    maximum: float | None = None,
    credential: str = "",
) -> Any:
    """A dataclass field that carries a `Setting`. See there for the arguments."""
    names = (env,) if isinstance(env, str) else env
    about = Setting(doc, kind, names, secret, choices, minimum, maximum, credential)
    return field(default=default, metadata={"setting": about}, repr=not secret)
