"""Integrations from the process's own configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache

from autoscaler.core.errors import ConfigurationError, IntegrationError
from autoscaler.core.integration import Integration, canonical
from autoscaler.core.spec import DEFAULT_INTEGRATION


class EnvironmentIntegrations:
    """The integrations of AUTOSCALER_INTEGRATIONS__*, and `default` from Temporal's own.

    `configured` maps canonical names to integrations; `fallback` makes the integration
    `default` where `configured` has none, and may raise ConfigurationError.
    """

    def __init__(
        self, configured: Mapping[str, Integration], fallback: Callable[[], Integration]
    ) -> None:
        self._configured = configured
        self._fallback = cache(fallback)

    def get(self, name: str) -> Integration:
        """Return an integration; case and `-` or `_` do not matter. Raises IntegrationError."""
        key = canonical(name)
        if key in self._configured:
            return self._configured[key]
        if key == canonical(DEFAULT_INTEGRATION):
            try:
                return self._fallback()
            except ConfigurationError as error:
                raise IntegrationError(f"integration {name}: {error}") from error
        known = ", ".join(sorted({*self._configured, DEFAULT_INTEGRATION}))
        raise IntegrationError(
            f"integration {name} is not known (known: {known});"
            f" set AUTOSCALER_INTEGRATIONS__{key.upper()}__ENDPOINT and __NAMESPACE,"
            " or correct the label"
        )
