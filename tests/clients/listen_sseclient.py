"""PyPI's sseclient-py on a stream, over urllib3, coming back with the last id: ``python listen_sseclient.py URL``.

A line ``[id, type, data]`` for each event; it ends with an assertion when it is refused.
"""

import json
import sys
import time

import sseclient
import urllib3


def main(url: str) -> None:
    last_event_id, delay = "", 0.2
    http = urllib3.PoolManager(timeout=urllib3.Timeout(connect=5, read=30), retries=False)
    while True:
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last_event_id} if last_event_id else {})
        try:
            response = http.request("GET", url, preload_content=False, headers=headers)
            assert response.status == 200, response.status
            for event in sseclient.SSEClient(response).events():
                last_event_id = event.id or last_event_id
                if event.retry is not None:
                    delay = int(event.retry) / 1000
                print(json.dumps([event.id, event.event, event.data]), flush=True)  # noqa: T201
        except urllib3.exceptions.HTTPError:
            pass
        time.sleep(delay)


if __name__ == "__main__":
    main(sys.argv[1])
