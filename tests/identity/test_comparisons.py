"""Secrets are looked up by their digest or compared in constant time: read from the source."""

import ast
import re
from collections.abc import Iterator

from tests.sources import PACKAGE, modules, tree

SECRET = re.compile(r"(^|_)(token|secret|ticket|cookie|digest|password|verifier|mac)$", re.IGNORECASE)


def compared(source: ast.AST) -> Iterator[tuple[int, str]]:
    """Where something that is named like a secret is compared with ``==`` or ``!=``, and its name."""
    for node in ast.walk(source):
        if isinstance(node, ast.Compare) and any(isinstance(op, ast.Eq | ast.NotEq) for op in node.ops):
            sides = [node.left, *node.comparators]
            if any(isinstance(side, ast.Constant) for side in sides):
                continue
            for side in sides:
                name = ast.unparse(side).rpartition(".")[2]
                if SECRET.search(name):
                    yield node.lineno, name


#: Where both sides are the gateway's own, or are known to whoever sends them, so that time tells nobody anything.
HARMLESS = {"sessions/idempotency.py", "ingest/translate.py", "oauth/refresh.py"}


def test_no_secret_is_compared_letter_by_letter() -> None:
    found = []
    for path in modules():
        where = str(path.relative_to(PACKAGE))
        if where not in HARMLESS:
            found += [f"{where}:{line}: {name}" for line, name in compared(tree(path))]
    assert found == []


def test_a_secret_that_is_compared_so_would_be_found() -> None:
    bad = ["if given == self.token: pass", "ok = row.digest != other", "x = a_secret == b"]
    assert all(list(compared(ast.parse(text))) for text in bad)
    assert not list(compared(ast.parse("hmac.compare_digest(given, token) or kind == 'ticket'")))
