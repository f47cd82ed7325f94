"""The pages of the documentation, and the blocks of code that they show."""

from __future__ import annotations

import dataclasses
import re

from markdown_it import MarkdownIt

from tests.running import ROOT

__all__ = ["Block", "blocks", "inline_code", "pages"]

COMMANDS = ("console", "bash", "sh", "shell")
PYTHON = ("python", "py", "pycon", "ipython")
# Directives whose content is no Markdown; in all others (notes, tabs, cards) blocks may stand.
_NO_MARKDOWN = ("include", "literalinclude", "toctree", "program-output", "eval-rst", "math")
_NO_MARKDOWN += ("image", "figure", "raw", "mermaid", "csv-table")
_DIRECTIVE = re.compile(r"\{(code-block|code|sourcecode)\}\s*(\S*)|\{([\w:-]+)\}.*")


@dataclasses.dataclass(frozen=True)
class Block:
    """A block of code in a page."""

    page: str  # From the root, such as README.md.
    line: int  # Of the page, where its text begins; from 1.
    language: str  # As the fence names it; "" for one that names none, or an indented block.
    text: str

    @property
    def is_python(self) -> bool:
        return self.language in PYTHON or (
            not self.language and re.match(r"(from \S+ )?import |>>> ", self.text) is not None
        )

    @property
    def is_commands(self) -> bool:
        return self.language in COMMANDS

    @property
    def where(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> list[str]:
    """README.md and all pages below docs/, wherever in it they stand."""
    found = sorted((ROOT / "docs").rglob("*.md"))
    return ["README.md", *(path.relative_to(ROOT).as_posix() for path in found)]


def blocks(page: str) -> list[Block]:
    """The blocks of code of a page, in order."""
    return list(_blocks(page, (ROOT / page).read_text(encoding="utf-8"), 0))


def _blocks(page: str, text: str, above: int):
    for token in MarkdownIt().parse(text):
        if token.type not in ("fence", "code_block"):
            continue
        first = above + token.map[0] + 1 + (token.type == "fence")
        info = token.info.strip()
        if not (found := _DIRECTIVE.fullmatch(info)):
            language = info.split(maxsplit=1)[0].lower() if info else ""
            yield Block(page, first, language, token.content)
        elif found[1]:
            content = re.sub(r"\A(:\w[\w-]*:.*\n)+\n?", "", token.content)
            lines = token.content.count("\n") - content.count("\n")
            yield Block(page, first + lines, found[2], content)
        elif found[3] not in _NO_MARKDOWN:
            yield from _blocks(page, token.content, first - 1)


def inline_code(page: str) -> list[tuple[int, str]]:
    """Line and text of all code that stands within sentences and tables of a page."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = []
    for token in MarkdownIt().enable("table").parse(text):
        for child in token.children or ():
            if child.type == "code_inline":
                found.append((token.map[0] + 1, child.content))
    return found
