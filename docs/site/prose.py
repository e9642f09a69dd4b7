"""Docstrings and plain text as Markdown.

Docstrings of studies are written for a terminal: equations are indented, `*` marks what is stressed
and is also a star (q*), `_` begins an index. In Markdown equations become blocks that keep their
spaces and scroll by themselves, and every mark that is not meant as one is escaped.
"""

from __future__ import annotations

import re
from textwrap import dedent

_CODE = r"`[^`]+`"
_STRESSED = r"(?<!\S)(?P<mark>\*{1,2})(?=[^\s*])[^*]*(?<=[^\s*])(?P=mark)(?!\w)"
_PARAMETER = r"^ *\*{1,2}\w+:"
_KEPT = re.compile(f"{_PARAMETER}|{_CODE}|{_STRESSED}", re.MULTILINE)
_MARKS = re.compile(r"(\*|(?<=\])\[)")
_SPECIAL = re.compile(r"[\\`*_\[\]|#]")


def plain(text: str) -> str:
    """Return text as Markdown that shows it, character for character, on one line.

    Example:
        >>> plain("|q*| < E_q[p]")
        '\\\\|q\\\\*\\\\| &lt; E\\\\_q\\\\[p\\\\]'
    """
    flat = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SPECIAL.sub(lambda found: "\\" + found.group(), flat)


def paragraph(text: str) -> str:
    """Return a paragraph of a docstring as Markdown: code and stress stay, the rest is text.

    Example:
        >>> paragraph("*Below.* With q* of `train`")
        '*Below.* With q\\\\* of `train`'
    """
    flat, parts, done = " ".join(text.split()), [], 0
    for kept in _KEPT.finditer(flat):
        mark = kept["mark"] or ""
        inner = kept.group()[len(mark) : len(kept.group()) - len(mark)]
        parts += [_spaced(flat[done : kept.start()]), mark, plain(inner) if mark else inner, mark]
        done = kept.end()
    return "".join([*parts, _spaced(flat[done:])]).strip()


def _spaced(text: str) -> str:
    """Return text as Markdown, with the spaces at its ends."""
    left, right = text[:1].isspace(), text[-1:].isspace()
    return f"{' ' * left}{plain(text)}{' ' * (right and bool(text.strip()))}"


def marks(docstring: str) -> str:
    """Return a docstring whose stars and brackets are escaped where Markdown would take them.

    Example:
        >>> marks("q* and *p*, `a*b*c`: x[0][1]\\n\\n    q* = p")
        'q\\\\* and *p*, `a*b*c`: x[0]\\\\[1]\\n\\n    q* = p'
    """
    blocks = docstring.split("\n\n")
    return "\n\n".join(block if block.startswith("    ") else _marked(block) for block in blocks)


def _marked(text: str) -> str:
    parts, done = [], 0
    for kept in _KEPT.finditer(text):
        parts += [_MARKS.sub(r"\\\1", text[done : kept.start()]), kept.group()]
        done = kept.end()
    return "".join([*parts, _MARKS.sub(r"\\\1", text[done:])])


def markdown(docstring: str) -> str:
    """Return a docstring as Markdown; what is indented becomes a block."""
    blocks: list[list[str]] = [[]]
    for line in [*docstring.splitlines(), ""]:
        last = blocks[-1]
        if not line.strip():
            if last and _indented(last):
                last.append("")  # an equation may go on after an empty line
            elif last:
                blocks.append([])
        elif last and _indented(last) != _indented([line]):
            blocks.append([line])
        else:
            last.append(line)
    return "\n\n".join(_block(lines) for lines in blocks if lines)


def _indented(lines: list[str]) -> bool:
    return lines[0].startswith("    ")


def _block(lines: list[str]) -> str:
    text = "\n".join(lines)
    return f"```text\n{dedent(text).strip()}\n```" if _indented(lines) else paragraph(text)
