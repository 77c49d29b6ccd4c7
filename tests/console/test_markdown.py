"""All that an agent writes is on the page, as Markdown or as it was written, and no text holds the page up."""

import random
import re
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import attrs

from tests.console.browsing import Console

#: Shows each text in a page of the console as an agent's final message is shown; its text and the milliseconds it took.
SHOW = """
async (texts) => {
    const count = (streamed, selector) => streamed.element.querySelectorAll(selector).length;
    const { Streamed } = await import("/console/text/streamed.js");
    const shown = [];
    for (const text of texts) {
        const streamed = new Streamed();
        document.body.replaceChildren(streamed.element);
        const began = performance.now();
        streamed.show(text, true);
        document.body.getBoundingClientRect();
        let took = performance.now() - began;
        for (let seen = -1; seen !== count(streamed, "*"); ) {
            seen = count(streamed, "*");
            const left = performance.now();
            await new Promise((go) => setTimeout(go, 20));
            took = Math.max(took, performance.now() - left - 20);
        }
        shown.push({ text: streamed.element.textContent, took, items: count(streamed, "li") });
    }
    return shown;
}
"""
#: Texts of 50 KB that are hard on a parser or on a browser.
INTRICATE = {
    repr(piece): piece * (50_000 // len(piece))
    for piece in (
        "`a`", "`a", "``a`", "*a", "**a ", "_a", "[", "[a](", "![", "<", "<a ", ">", "- ", "&", "\\", "http://a.b ",
        "www.", "a@b.", "~~a", "[a]: x\n", "\n", "- a\n", "1. a\n", "a\n\n", "&#1;", "//", ":", "*a*", "**a** `b` ",
        "[a](b) ", "> - a\n", "# a\n", "a\\\nb", "~", "|", "a|", "$", "\t", "\r", "`\n", "***\n", "    a\n", "<b>",
        "![a](b)", "\u202e", "a\u200b", "\x00",
    )
}  # fmt: skip
INTRICATE["a table"] = "|a|b|\n|-|-|\n" + "|a|b|\n" * 8000
INTRICATE["a wide table"] = "|a" * 8000 + "\n" + "|-" * 8000 + "\n" + "|a" * 8000
INTRICATE["lists in lists"] = "\n".join(" " * 2 * depth + "- a" for depth in range(200))
INTRICATE["quotes in quotes"] = "\n".join(">" * depth + " a" for depth in range(1, 300))
_EXAMPLE = re.compile(r"^`{32} example\n(.*?)^\.\n(.*?)^`{32}$", re.MULTILINE | re.DOTALL)
_WORD = re.compile(r"[^\W_]+")
SEED = 20261130


@attrs.frozen
class Sample:
    """A text in Markdown, and the words that readers are to see, in order."""

    markdown: str
    words: Sequence[str]


async def shown(page: Console, texts: Sequence[str]) -> list[dict[str, Any]]:
    await page.open()
    found: list[dict[str, Any]] = await page.page.evaluate(SHOW, list(texts))
    return found


def missing(words: Sequence[str], text: str) -> str | None:
    """The first word that is not in the text, behind those before it."""
    place = 0
    for word in words:
        at = text.find(word, place)
        if at < 0:
            return word
        place = at + len(word)
    return None


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def handle_data(self, data: str) -> None:
        self.said.append(data)


def examples(package: Path) -> Iterator[Sample]:
    spec = (package / "node_modules" / "commonmark-spec" / "spec.txt").read_text()
    for markdown, html in _EXAMPLE.findall(spec):
        parser = _Text()
        parser.feed(html.replace("→", "\t"))
        parser.close()
        yield Sample(markdown.replace("→", "\t"), _WORD.findall(" ".join(parser.said)))


class Author:
    """Writes what agents write: lists without empty lines, steps, tables, code, quotations, and all of it nested."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.count = 0
        self.words: list[str] = []

    def word(self) -> str:
        self.count += 1
        word = f"word{self.count}x"
        self.words.append(word)
        return word

    def inline(self) -> str:
        forms = (
            "{0}", "{0} {1}", "**{0}** {1}", "`{0}` and {1}", "*{0}* ({1})", "[{0}](https://example.com/a_b) {1}",
            "~~{0}~~ {1}", "{0} <{1}>", "\"{0}\" & {1}", "{0}: `{1} | {2}`", "__{0} {1}__ {2}",
            "[{0}][1] {1}", "{0}_{1}_",
        )  # fmt: skip
        form = self.random.choice(forms)
        return form.format(*(self.word() for _ in range(form.count("{"))))

    def items(self, depth: int = 0) -> Iterator[str]:
        numbered, gap = self.random.random() < 0.4, self.random.random() < 0.2
        for number in range(1, self.random.randint(2, 5)):
            mark = f"{number}. " if numbered else self.random.choice("-*+") * 1 + " "
            task = self.random.choice(["", "", "[x] ", "[ ] "])
            yield f"{mark}{task}{self.inline()}"
            if depth < 4 and self.random.random() < 0.35:
                inner = self.items(depth + 1) if self.random.random() < 0.7 else self.part(depth + 1)
                yield from (" " * len(mark) + line if line else line for line in inner)
            if gap:
                yield ""

    def part(self, depth: int = 0) -> Iterator[str]:
        match self.random.randint(0, 8 if depth < 3 else 3):
            case 0:
                yield f"{'#' * self.random.randint(1, 6)} {self.inline()}"
            case 1 | 2:
                yield from (self.inline() for _ in range(self.random.randint(1, 4)))
            case 3:
                yield from ("```python", f"def {self.word()}():", f"    return '{self.word()}'", "```")
            case 4:
                columns = self.random.randint(1, 4)
                yield "| " + " | ".join(self.word() for _ in range(columns)) + " |"
                yield "|" + "---|" * columns
                for _ in range(self.random.randint(1, 3)):
                    yield (
                        "| " + " | ".join(self.word() for _ in range(columns + self.random.choice([0, 0, 0, 1]))) + " |"
                    )
            case 5:
                yield from (f"> {line}" for line in self.part(depth + 1))
            case 6:
                yield f"[{self.word()}]: {self.word()}"
            case _:
                yield from self.items(depth)

    def message(self) -> Sample:
        self.words = []
        lines: list[str] = []
        for _ in range(self.random.randint(2, 8)):
            lines += [*self.part(), *self.random.choice(([""], [""], []))]
        return Sample("\n".join(lines), self.words)


async def test_every_word_of_commonmarks_examples_is_shown_in_its_order(
    page: Console, commonmark_package: Path
) -> None:
    samples = list(examples(commonmark_package))
    assert len(samples) > 600
    for sample, found in zip(samples, await shown(page, [one.markdown for one in samples]), strict=True):
        assert missing(sample.words, found["text"]) is None, (sample, found["text"])


async def test_every_word_of_messages_as_agents_write_them_is_shown_in_its_order(page: Console) -> None:
    author = Author(SEED)
    samples = [author.message() for _ in range(200)]
    for sample, found in zip(samples, await shown(page, [one.markdown for one in samples]), strict=True):
        lost = missing(sample.words, found["text"])
        assert lost is None, f"{lost} of\n{sample.markdown}\nis not in\n{found['text']}"


async def test_no_text_holds_the_page_up_and_all_of_it_is_shown(page: Console) -> None:
    texts = list(INTRICATE.values())
    for name, text, found in zip(INTRICATE, texts, await shown(page, texts), strict=True):
        assert found["text"].count("a") >= text.count("a"), name
        # Milliseconds. On a machine with nothing else to do none takes 200, and what holds the page up takes 10,000.
        assert found["took"] < 10_000, (name, found["took"])


async def test_lists_without_empty_lines_are_lists_with_their_words(page: Console) -> None:
    text = "My plan:\n\n- Read\n- **Mend**\n  - inner\n\nThen:\n\n1. Test\n2. [x] Deploy\n"
    [found] = await shown(page, [text])
    assert found["items"] == 5
    assert missing(["Read", "Mend", "inner", "Then", "Test", "Deploy"], found["text"]) is None
