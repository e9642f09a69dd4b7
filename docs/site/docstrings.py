"""How the reference reads the sources: what the house's docstrings and modules mean to griffe.

The parameters of a module are its fields, as those of a dataclass are. `Example:` is the section
that Google's style calls `Examples:`; and stars and brackets in prose are no marks of Markdown.
"""

from __future__ import annotations

from typing import Any

import griffe

from prose import marks  # found because the hooks, which are loaded first, import it

_EXAMPLE = "\nExample:\n"


class House(griffe.Extension):
    """Reads the library's classes and docstrings."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Prepare a docstring for its parser."""
        if obj.docstring is not None:
            words, example, code = f"{obj.docstring.value}\n".partition(_EXAMPLE)
            obj.docstring.value = marks(words) + example.replace("Example", "Examples") + code

    def on_class_members(self, *, cls: griffe.Class, **kwargs: Any) -> None:
        """Say that a class of fields is a dataclass."""
        if cls.bases and not cls.decorators and "__init__" not in cls.members:
            cls.decorators.append(
                griffe.Decorator(griffe.ExprName("dataclass", "dataclasses"), lineno=0, endlineno=0)
            )
            for field in cls.attributes.values():
                field.value = _default(field.value)


def _default(value: Any) -> Any:
    """Return the default that `eqx.field(…, default=…)` stands for, or the value itself."""
    if not isinstance(value, griffe.ExprCall) or value.canonical_path != "equinox.field":
        return value
    keywords = [given for given in value.arguments if isinstance(given, griffe.ExprKeyword)]
    return next((given.value for given in keywords if given.name == "default"), None)
