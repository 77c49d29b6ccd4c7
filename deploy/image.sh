#!/usr/bin/env bash
# Builds both images of the Dockerfile without a Docker engine, as root on Debian: with buildah, on a base image made by
# debootstrap. Afterwards deploy/try_images.sh runs a session through the two containers.
#
#     BASE_SUITE    Debian's release for the base (bookworm)
#     AGENTS        npm packages for the agent-host image (none)
#     NODE          the version of Node.js in it (24.21.0)
set -euo pipefail
cd "$(dirname "$0")/.."

SUITE=${BASE_SUITE:-bookworm}
NODE=${NODE:-24.21.0}
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
export BUILDAH_ISOLATION=chroot BUILDAH_FORMAT=docker

for program in buildah debootstrap npm; do
    command -v "$program" >/dev/null || {
        echo "this needs $program: apt-get install buildah debootstrap npm" >&2
        exit 1
    }
done

# The build uses this machine's package sources and trusted certificates. They do not become part of the images.
MIRROR=$(apt-get indextargets --format '$(SITE)' "Codename: $SUITE" | head -n 1)
CERTIFICATES=/etc/ssl/certs/ca-certificates.crt
printf '[global]\ncert = %s\n' "$CERTIFICATES" >"$WORK/pip.conf"
printf 'cafile = %s\n' "$CERTIFICATES" >"$WORK/npmrc"
LENT=(
    --volume "/etc/ssl/certs:/etc/ssl/certs:ro"
    --volume "$WORK/pip.conf:/etc/pip.conf:ro"
    --volume "$WORK/npmrc:/usr/local/etc/npmrc:ro"
)

buildah() { command buildah --storage-driver vfs "$@"; }

# An image from a folder, under a name.
image_of() {
    local container
    container=$(buildah from scratch)
    buildah add --quiet "$container" "$2" "${3:-/}" >/dev/null
    buildah commit --quiet --rm "$container" "$1" >/dev/null
}

make_base() {
    echo "base: Debian $SUITE with Python"
    debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates "$SUITE" "$WORK/base" "$MIRROR" \
        >"$WORK/log" 2>&1 || {
        tail -n 20 "$WORK/log" >&2
        exit 1
    }
    rm -rf "$WORK"/base/var/{cache/apt,lib/apt/lists}/* "$WORK"/base/usr/share/{doc,man,locale}/*
    rm -rf "$WORK"/base/etc/apt/sources.list*
    image_of localhost/acp-base "$WORK/base"
}

make_node() {
    echo "Node.js $NODE"
    npm install --silent --no-fund --no-audit --prefix "$WORK/npm" "node@$NODE" npm@11
    mkdir -p "$WORK"/node/usr/local/{bin,lib/node_modules}
    cp -L "$WORK/npm/node_modules/node/bin/node" "$WORK/node/usr/local/bin/node"
    cp -r "$WORK/npm/node_modules/npm" "$WORK/node/usr/local/lib/node_modules/npm"
    image_of localhost/acp-node "$WORK/node"
}

# Kept for the next build; `buildah --storage-driver vfs rmi localhost/acp-base` forces a new one.
buildah inspect --type image localhost/acp-base >/dev/null 2>&1 || make_base
buildah inspect --type image localhost/acp-node >/dev/null 2>&1 || make_node

for target in gateway agent-host; do
    name=acp-$target
    echo "image: $name"
    buildah build --quiet --target "$target" --tag "localhost/$name" "${LENT[@]}" \
        --build-arg PYTHON_IMAGE=localhost/acp-base --build-arg NODE_IMAGE=localhost/acp-node \
        --build-arg AGENTS="${AGENTS:-}" . >/dev/null
done
buildah images --format "  {{.Name}} {{.Size}}" | grep -E "acp-(gateway|agent-host)"
