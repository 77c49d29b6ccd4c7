"""The agent host: runs in the project's container on 4097, and runs its coding agents over stdio."""
