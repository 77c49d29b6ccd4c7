"""What operators see of a running gateway: readiness, figures, log lines, traces."""
