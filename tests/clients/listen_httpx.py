"""PyPI's httpx-sse on a stream, reconnecting as its README shows: ``python listen_httpx.py URL``.

A line ``[id, type, data]`` for each event; it ends with a traceback when it is refused.
"""

import json
import sys
import time

import httpx
from httpx_sse import connect_sse


def main(url: str) -> None:
    last_event_id, delay = "", 0.2
    with httpx.Client(trust_env=False, timeout=httpx.Timeout(5, read=30)) as client:
        while True:
            headers = {"Last-Event-ID": last_event_id} if last_event_id else {}
            try:
                with connect_sse(client, "GET", url, headers=headers) as source:
                    source.response.raise_for_status()
                    for sse in source.iter_sse():
                        last_event_id = sse.id
                        if sse.retry is not None:
                            delay = sse.retry / 1000
                        print(json.dumps([sse.id, sse.event, sse.data]), flush=True)  # noqa: T201
            except httpx.TransportError:
                pass
            time.sleep(delay)


if __name__ == "__main__":
    main(sys.argv[1])
