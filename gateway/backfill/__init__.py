"""What OpenCode said before anybody recorded it is read from it and recorded."""
