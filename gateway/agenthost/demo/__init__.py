"""A small agent that speaks ACP over stdin and stdout, needs no account, and does what the prompt says.

    python -m gateway.agenthost.demo

Each line of a prompt is a directive: `help` lists them, and `directives` defines them. It imports the standard library
alone, and little of that, so that a process answers at once. Sessions are kept in `$XDG_STATE_HOME/acp-demo-agent`.
"""
