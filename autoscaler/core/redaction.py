"""Hides secrets in texts for people and machines."""

from __future__ import annotations

import re

from pydantic import SecretStr

HIDDEN = "[hidden]"
SHORTEST = 6
"""Characters of a secret. A shorter one would be found within ordinary words."""

_LOOKS_SECRET = re.compile(
    r"eyJ[\w-]{4,}\.[\w-]{4,}\.[\w-]*"  # a JSON Web Token, as Temporal Cloud's API keys are
    r"|(?<=://)[^\s/:@]*:[^\s/@]+(?=@)"  # user and password in a URL
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)",
    re.DOTALL,
)


class Redactor:
    """Knows the secrets of this process, and hides them in any text.

    Text that looks like a private key, a JSON Web Token or a password in a URL is hidden too, known
    or not.
    """

    def __init__(self) -> None:
        self._secrets: set[str] = set()

    def learn(self, *secrets: SecretStr | None) -> None:
        """Hide these from now on: each line of a PEM text, and each of several keys, by itself."""
        for secret in secrets:
            if secret is not None:
                parts = map(str.strip, re.split(r"[\n,]", secret.get_secret_value()))
                self._secrets.update(
                    part for part in parts if len(part) >= SHORTEST and not part.startswith("-----")
                )

    def hide(self, text: str) -> str:
        """Return the text without any secret."""
        text = _LOOKS_SECRET.sub(HIDDEN, text)
        # The longest first, since one secret may be part of another.
        for secret in sorted(self._secrets, key=len, reverse=True):
            text = text.replace(secret, HIDDEN)
        return text
