# Two images, each for its own user and a read-only root:
#
#     docker build --target gateway -t acp-gateway .
#     docker build --target agent-host -t acp-agent-host --build-arg AGENTS="opencode-ai@1.18.33" .
#
# They write only to the volumes and to /tmp: docker run --read-only --tmpfs /tmp …
# `make image` builds both without a Docker engine, and runs a session through them.

ARG PYTHON_IMAGE=python:3.13-slim
ARG NODE_IMAGE=node:24-slim

FROM ${NODE_IMAGE} AS node

FROM ${PYTHON_IMAGE} AS build-gateway
COPY deploy/requirements.txt /
RUN python3 -m venv /opt/acp-gateway \
    && /opt/acp-gateway/bin/pip install --no-cache-dir --no-compile --require-hashes --requirement /requirements.txt
COPY pyproject.toml README.md LICENSE NOTICE config.example.toml /src/
COPY gateway /src/gateway
COPY client /src/client
COPY migrations /src/migrations
RUN /opt/acp-gateway/bin/pip install --no-cache-dir --no-compile --no-deps /src \
    && /opt/acp-gateway/bin/pip uninstall --yes --quiet setuptools pip

# The agent host is a separate distribution: the part of the gateway that runs agents, without PostgreSQL.
FROM ${PYTHON_IMAGE} AS build-agent-host
COPY deploy/agent-host/requirements.txt /
RUN python3 -m venv /opt/acp-gateway \
    && /opt/acp-gateway/bin/pip install --no-cache-dir --no-compile --require-hashes --requirement /requirements.txt
COPY LICENSE /src/
COPY gateway /src/gateway
COPY deploy/agent-host /src/deploy/agent-host
RUN /opt/acp-gateway/bin/pip install --no-cache-dir --no-compile --no-deps /src/deploy/agent-host \
    && /opt/acp-gateway/bin/pip uninstall --yes --quiet setuptools pip

# The gateway. As a sidecar it shares the network of its container and listens only on loopback. The agents share that
# loopback, so the gateway requires a token. It is in the gateway's volume, out of the agents' reach, where the gateway's own
# commands find it. In front of many containers, mount a configuration file.
#
#     docker run --init --network container:my-agents --name gateway -v acp-data:/var/lib/acp-gateway acp-gateway
#     docker exec gateway acp-gateway project list
#     docker exec gateway acp-gateway token link   # for a browser
#
#     docker run --init -v ./config.toml:/config.toml:ro -p 8080:8080 acp-gateway serve --config /config.toml
#
# --init: somebody must reap the embedded PostgreSQL's processes. With your own PostgreSQL
# (-e ACP_GATEWAY_DATABASE_URL=…) the volume is not needed.
FROM ${PYTHON_IMAGE} AS gateway
# PostgreSQL refuses to run as root, and needs an entry for its user in /etc/passwd.
RUN useradd --create-home --uid 10001 acp \
    && install --directory --owner=acp --mode=0700 /var/lib/acp-gateway
COPY --from=build-gateway /opt/acp-gateway /opt/acp-gateway
ENV PATH=/opt/acp-gateway/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    ACP_GATEWAY_EMBEDDED_DATA_DIR=/var/lib/acp-gateway
USER acp
WORKDIR /home/acp
VOLUME /var/lib/acp-gateway
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s \
    CMD ["python3", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/healthz', timeout=2)"]
ENTRYPOINT ["acp-gateway"]
CMD ["serve", "--container", "http://127.0.0.1:4096"]

# The agent host: a base image for project containers. AGENTS are the npm packages of agents; install other agents in an image
# FROM this one. It requires a secret to be reachable from other machines. If the gateway uses a host name for it instead of an
# IP address, set that name:
#
#     docker run --init -e ACP_HOST_TOKEN=… -v ./code:/workspace -p 4097:4097 acp-agent-host
#     docker run --init -e ACP_HOST_TOKEN=… -e ACP_GATEWAY_AGENT_HOST_ALLOWED_HOSTS=project \
#         --network agents --name project -v ./code:/workspace acp-agent-host
FROM ${PYTHON_IMAGE} AS agent-host
COPY --from=node /usr/local/bin/node /usr/local/bin/node
COPY --from=node /usr/local/lib/node_modules/npm /usr/local/lib/node_modules/npm
ARG AGENTS=""
RUN ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm \
    && ln -s ../lib/node_modules/npm/bin/npx-cli.js /usr/local/bin/npx \
    && if [ -n "${AGENTS}" ]; then npm install --global --no-fund --no-audit ${AGENTS} && npm cache clean --force; fi
# Not the gateway's user: if the two share processes or files, agents must not read what belongs to the gateway.
RUN useradd --create-home --uid 10002 acp && install --directory --owner=acp /workspace
COPY --from=build-agent-host /opt/acp-gateway /opt/acp-gateway
ENV PATH=/opt/acp-gateway/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    ACP_GATEWAY_AGENT_HOST_HOST=0.0.0.0 \
    ACP_GATEWAY_AGENT_HOST_WORKSPACE=/workspace
USER acp
WORKDIR /workspace
# Agents store their sessions in the home directory; restoring a session needs it.
VOLUME ["/workspace", "/home/acp"]
EXPOSE 4097
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
    CMD ["python3", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:4097/health', timeout=2)"]
ENTRYPOINT ["acp-gateway"]
CMD ["agent-host"]
