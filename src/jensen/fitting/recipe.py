r"""A recipe: all that a user can set of a fit, the model's options and its training."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from jensen._errors import check_name
from jensen.engine.config import Training
from jensen.models.families import FlowOptions, read_value


@dataclass(frozen=True)
class Recipe:
    """All that a user can set of a fit.

    Args:
        options: the model, a frozen dataclass such as `FlowOptions`.
        training: its optimisation, evaluation and stopping.
    """

    options: Any = field(default_factory=FlowOptions)
    training: Training = field(default_factory=Training)

    @classmethod
    def from_settings(cls, settings: dict[str, Any], start: Recipe | None = None) -> Recipe:
        """Return a recipe with the given settings, text or values, and those of `start` elsewhere.

        Args:
            settings: name → value.
            start: the family's defaults; those of a flow if None.

        Raises:
            InputError: for an unknown name (the nearest is suggested) or a value out of range.

        Example:
            >>> Recipe.from_settings({"bins": "16", "epochs": 3}).options.bins
            16
        """
        start = cls() if start is None else start
        known = start.to_settings()
        parts = (start.options, start.training, start.training.optimisation)
        kinds = {f.name: str(f.type) for part in parts for f in fields(part)}
        values = {}
        for name, value in settings.items():
            check_name(name, known, "option", "--set")
            values[name] = _read(name, value, known[name], kinds[name])

        def changed(part: Any) -> Any:
            return replace(
                part, **{f.name: values[f.name] for f in fields(part) if f.name in values}
            )

        training = replace(
            changed(start.training), optimisation=changed(start.training.optimisation)
        )
        return cls(changed(start.options), training)

    def to_settings(self) -> dict[str, Any]:
        """Return every setting, as plain data; `from_settings` gives the recipe back."""
        training = asdict(self.training)
        return {**asdict(self.options), **training.pop("optimisation"), **training}


def _read(name: str, value: Any, default: Any, kind: str) -> Any:
    """Return `value`, text or not, as the type of the setting; text for an open one may be none."""
    is_open = default is None and isinstance(value, str) and value.lower() not in ("none", "null")
    if is_open:
        default = "" if "str" in kind else 1.0 if "float" in kind else None
    return read_value(name, value, default)
