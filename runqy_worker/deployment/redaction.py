"""Keeping secrets out of what people read."""

from __future__ import annotations

from urllib.parse import quote

_MASK = "***"
_SHORTEST = 6  # masking shorter values would mask ordinary words and reveal nothing less


class Redactor:
    """Replaces known secrets in text, also where they stand percent-encoded.

    Args:
        secrets: Values that must not show. Empty and very short ones are left out.
    """

    def __init__(self, *secrets: str) -> None:
        self._needles: list[str] = []
        self.add(*secrets)

    def add(self, *secrets: str) -> None:
        """Mask these too from now on."""
        for secret in secrets:
            for form in (secret, quote(secret, safe="")):
                if len(form) >= _SHORTEST and form not in self._needles:
                    self._needles.append(form)
        self._needles.sort(key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """The text without the secrets."""
        for needle in self._needles:
            text = text.replace(needle, _MASK)
        return text
