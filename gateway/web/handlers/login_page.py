"""The pages at the end of a login in the browser: text and one form, no script."""

from base64 import b64encode
from hashlib import sha256
from html import escape

from aiohttp import hdrs, web

_STYLE = (
    "body{font:1.1rem/1.5 system-ui,sans-serif;max-width:34rem;margin:15vh auto;padding:0 1rem;color:#222;"
    "background:#fff}button{font:inherit;padding:.4rem 1rem;margin-right:.5rem}"
    "@media(prefers-color-scheme:dark){body{color:#ddd;background:#1b1b1b}}"
)
_POLICY = (
    f"default-src 'none'; style-src 'sha256-{b64encode(sha256(_STYLE.encode()).digest()).decode()}'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)


def page(status: int, title: str, *sentences: str) -> web.Response:
    """A page of text; everything is escaped."""
    return _response(status, title, "".join(f"<p>{escape(sentence)}</p>" for sentence in sentences), "no-referrer")


def question(provider: str, *, user_id: str, agent_id: str, project_id: str) -> web.Response:
    """Asks whether the person at the browser began this login."""
    asked = (
        f"<p>You have logged in at {escape(provider)}. Shall your account be given to the user "
        f"<strong>{escape(user_id)}</strong> of this gateway, for the agent <strong>{escape(agent_id)}</strong> in the "
        f"project <strong>{escape(project_id)}</strong>?</p>"
        "<p>Say yes only if that is you, and you have just begun this login. Whoever sent you here by a link would get "
        "the use of your account.</p>"
        '<form method="post"><button name="answer" value="yes">Yes, that is me</button>'
        '<button name="answer" value="no">No</button></form>'
    )
    # With "no-referrer" the form would be sent without its origin, and refused as a foreign page's.
    return _response(200, "Is this your login?", asked, "same-origin")


def _response(status: int, title: str, body: str, referrer_policy: str) -> web.Response:
    text = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>"
        f"<body><h1>{escape(title)}</h1>{body}</body></html>\n"
    )
    headers = {
        "Content-Security-Policy": _POLICY,
        "Referrer-Policy": referrer_policy,
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        hdrs.CACHE_CONTROL: "no-store",
    }
    return web.Response(status=status, text=text, content_type="text/html", headers=headers)
