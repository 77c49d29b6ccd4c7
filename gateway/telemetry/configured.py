"""Tracing as configured."""

from gateway import __version__
from gateway.config.schema import TracingConfig
from gateway.errors import ConfigError
from gateway.telemetry.tracing import PassedOn, Tracing


def tracing(config: TracingConfig) -> Tracing:
    """Exports spans if an endpoint is configured; otherwise only passes trace contexts on."""
    if not config.endpoint:
        return PassedOn()
    try:
        from gateway.telemetry.spans import Traces
    except ImportError as exc:
        raise ConfigError(
            f"tracing.endpoint is set, and the package {exc.name} is not installed; "
            "pip install 'acp-session-gateway[tracing]', or leave it empty"
        ) from exc
    return Traces(
        endpoint=config.endpoint,
        authorization=config.authorization,
        service=config.service,
        version=__version__,
        ratio=config.ratio,
    )
