"""Runs the agent until its client closes stdin."""

import os
import sys

from gateway.agenthost.demo.agent import Agent
from gateway.agenthost.demo.rpc import Connection

if __name__ == "__main__":
    Agent(Connection(sys.stdin.buffer, sys.stdout.buffer)).serve()
    # Not waiting for the threads of turns that still run.
    os._exit(0)
