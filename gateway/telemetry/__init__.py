"""What operators see of a running gateway: readiness, metrics, log lines, traces."""
