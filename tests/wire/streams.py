"""Event streams, and the events that the standard makes of them."""

from gateway.wire.sse import SSEEvent


def event(data, event="message", id=None, retry=None):
    return SSEEvent(event=event, data=data, id=id, retry=retry)


# The examples of the standard's section 9.2.6, then one line of the rules each.
STREAMS = {
    "example: three lines": (b"data: YHOO\ndata: +2\ndata: 10\n\n", [event("YHOO\n+2\n10")]),
    "example: comment, ids, reset": (
        b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
        [event("first event", id="1"), event("second event", id=""), event(" third event", id="")],
    ),
    "example: empty data": (b"data\n\ndata\ndata\n\ndata:", [event(""), event("\n")]),
    "example: the space is optional": (b"data:test\n\ndata: test\n\n", [event("test"), event("test")]),
    "only one space is removed": (b"data:   x\n\n", [event("  x")]),
    "a tab is no space": (b"data:\tx\n\n", [event("\tx")]),
    "one leading byte order mark": (b"\xef\xbb\xbfdata: a\n\n", [event("a")]),
    "a second byte order mark is a character": (b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\ndata: b\n\n", [event("b")]),
    "a byte order mark later": (b"data: a\n\n\xef\xbb\xbfdata: b\n\n", [event("a")]),
    "CR ends lines": (b"data: a\rdata: b\r\r", [event("a\nb")]),
    "CRLF ends lines": (b"data: a\r\ndata: b\r\n\r\n", [event("a\nb")]),
    "line ends mixed": (b"data: a\r\ndata: b\rdata: c\n\r\ndata: d\n\r", [event("a\nb\nc"), event("d")]),
    "no data, no event": (b"event: x\nid: 1\n\ndata: a\n\n", [event("a", id="1")]),
    "event type": (b"event: ping\ndata: ping\n\ndata: a\n\n", [event("ping", "ping"), event("a")]),
    "last event type wins": (b"event: a\nevent: b\ndata: x\n\n", [event("x", "b")]),
    "empty event type is message": (b"event: a\nevent\ndata: x\n\n", [event("x")]),
    "the id stays in force": (b"id: 7\ndata: a\n\ndata: b\n\n", [event("a", id="7"), event("b", id="7")]),
    "an id with NUL is ignored": (
        b"id: 1\ndata: a\n\nid: 2\x003\ndata: b\n\n",
        [event("a", id="1"), event("b", id="1")],
    ),
    "retry is digits": (b"retry: 1500\ndata: a\n\ndata: b\n\n", [event("a", retry=1500), event("b")]),
    "retry is only digits": (b"retry: 1.5\nretry: -1\nretry: 1s\nretry\nretry:  5\ndata: a\n\n", [event("a")]),
    "retry is ASCII digits": ("retry: ١\ndata: a\n\n".encode(), [event("a")]),
    "retry of absurd length": (b"retry: " + b"9" * 5000 + b"\ndata: a\n\n", [event("a")]),
    "names are case sensitive": (b"Data: x\nDATA: y\n data: z\n\n", []),
    "unknown fields": (b"foo: x\ndata: a\nbar\n\n", [event("a")]),
    "a line that is a colon": (b":\ndata: a\n:\n\n", [event("a")]),
    "a value with colons": (b"data: a:b: c\n\n", [event("a:b: c")]),
    "an unfinished block is no event": (b"data: a\n\ndata: b\n", [event("a")]),
    "an unfinished line is no event": (b"data: a\n\ndata: b", [event("a")]),
    "wrong UTF-8 is replaced": (b"data: a\xff\xe4\xbd\ndata: \xbd\xa0\n\n", [event("a��\n��")]),
    "UTF-8": ("event: é\nid: 😀\ndata: 你\n\n".encode(), [event("你", "é", "😀")]),
    "other separators are no line ends": (
        "data: a\u2028b\x0bc\x0cd\x1ce\x85\n\n".encode(),
        [event("a\u2028b\x0bc\x0cd\x1ce\x85")],
    ),
    "NUL in data": (b"data: a\0b\n\n", [event("a\0b")]),
}
