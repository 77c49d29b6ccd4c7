"""Runs the agent until its client closes stdin."""

import os
import sys

from gateway.agenthost.demo.agent import Agent
from gateway.agenthost.demo.rpc import Connection

if __name__ == "__main__":
    Agent(Connection(sys.stdin.buffer, sys.stdout.buffer)).serve()
    # Turns that still run have nobody left to tell. Waiting for their threads could take as long as they do.
    os._exit(0)
