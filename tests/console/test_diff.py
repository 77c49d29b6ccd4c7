"""A change of a file is shown line by line: in exports and the terminal by Python, in the console by its own module."""

import itertools
import json
import subprocess
from pathlib import Path

from gateway.wire.lines import changes, lines_of

DIFF = Path(__file__).with_name("diff.mjs")
UNENDED = "\\ No newline at end of file"
#: Pieces of texts. What Unicode and terminals take for line ends is none in a file.
PIECES = ["a", "b\n", "b\r\n", "\n", "\r", "c\x0cd\n", "e\u2028f\n", "g\x85h\n", "i\x0bj\n", "k\x1cl\n"]
TEXTS = ["".join(chosen) for length in range(3) for chosen in itertools.product(PIECES, repeat=length)]


def in_javascript(node: Path, pairs: list[tuple[str, str]]) -> list[list[list[str]]]:
    lines = "".join(json.dumps(pair) + "\n" for pair in pairs)
    done = subprocess.run([node, "--no-warnings", DIFF], input=lines, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    # JSON has no line ends of its own in it, and U+2028 as it is.
    return [json.loads(line) for line in done.stdout.split("\n")[:-1]]


def in_python(old: str, new: str) -> list[list[str]]:
    shown: list[list[str]] = []
    for line in changes(old, new, context=1000):
        if line == UNENDED:
            shown[-1][1] += f"\n{line}"
        elif not line.startswith("@@"):
            shown.append([line[0], line[1:]])
    return shown


def side(shown: list[list[str]], sign: str) -> list[str]:
    """The lines of the old or the new text."""
    return [text for mark, text in shown if mark in (" ", sign)]


def test_every_change_is_shown_also_one_of_line_ends_alone(node: Path) -> None:
    pairs = [(old, new) for old, new in itertools.product(TEXTS, TEXTS) if old != new]
    pairs = pairs[:: len(pairs) // 4000]
    for (old, new), shown in zip(pairs, in_javascript(node, pairs), strict=True):
        assert {sign for sign, _ in shown} & {"-", "+"}, (old, new)
        assert [line for line in changes(old, new) if line[:1] in "+-"], (old, new)


def test_console_and_exports_show_the_same_lines(node: Path) -> None:
    pairs = [(old, new) for old, new in itertools.product(TEXTS, TEXTS) if old and new and old != new]
    pairs = pairs[:: len(pairs) // 4000]
    for (old, new), shown in zip(pairs, in_javascript(node, pairs), strict=True):
        expected = in_python(old, new)
        assert (side(shown, "-"), side(shown, "+")) == (side(expected, "-"), side(expected, "+")), (old, new)


def test_a_change_between_files_with_the_same_line_ends_does_not_mark_them() -> None:
    assert list(changes("a\r\nb\r\n", "a\r\nc\r\n")) == ["@@ -1,2 +1,2 @@", " a", "-b", "+c"]
    assert list(changes("a\r\nb\r\n", "a\nb\n")) == ["@@ -1,2 +1,2 @@", "-a\u240d", "-b\u240d", "+a", "+b"]
    assert list(changes("a", "a\n")) == ["@@ -1 +1 @@", "-a", UNENDED, "+a"]
    assert list(changes("", "")) == []


def test_lines_of_a_file_are_what_git_counts() -> None:
    for text in TEXTS:
        assert "".join(lines_of(text)) == text
        assert len(list(lines_of(text))) == text.count("\n") + (not text.endswith("\n") and text != "")
