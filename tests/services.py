"""Variables that others put into a gateway's environment."""


def service_link(name: str, port: int = 80, protocol: str = "tcp") -> dict[str, str]:
    """What Kubernetes gives each container for a Service with a named port."""
    variable, address = name.upper().replace("-", "_"), f"{protocol}://10.96.7.7:{port}"
    at = f"{variable}_PORT_{port}_{protocol.upper()}"
    return {
        f"{variable}_SERVICE_HOST": "10.96.7.7",
        f"{variable}_SERVICE_PORT": str(port),
        f"{variable}_SERVICE_PORT_HTTP": str(port),
        f"{variable}_PORT": address,
        at: address,
        f"{at}_PROTO": protocol,
        f"{at}_PORT": str(port),
        f"{at}_ADDR": "10.96.7.7",
    }
