r"""A game from a user's file, `path.py:losses`.

The file defines a function of the players and, where these are not single numbers, `start`:

    import jax.numpy as jnp
    start = (jnp.zeros(2), jnp.zeros(3))      # or a function that returns it
    def losses(players, gamma=0.1):           # further arguments are settings
        x, y = players
        return f(x, y), g(x, y)               # one loss a player, to minimise

`losses` may also take the players one by one, and may return one number L, which stands for the
zero-sum game (L, -L) of two players.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax

from jensen._errors import InputError, nearest
from jensen.data.code import function_of, python_module
from jensen.games.builtin import GAMES, NamedGame
from jensen.games.play import as_players, check_losses
from jensen.games.rules import Players


def load_game(name: str, settings: dict[str, Any] | None = None) -> NamedGame:
    """Return a built-in game by name, or a user's by `path.py:function`.

    Args:
        name: `bilinear`, `dirac-gan`, …, or a path and the name of a function in it.
        settings: values of the game's parameters, numbers or text.

    Raises:
        InputError: if there is no such game, file, function or setting, or the losses do not fit
            the players.

    Example:
        >>> load_game("dirac-gan", {"gamma": "0.5"}).losses.gamma
        0.5
    """
    if name in GAMES:
        values = {
            key: _whole(name, key, value, GAMES[name])
            for key, value in _settings(name, GAMES[name], settings or {}).items()
        }
        return replace(GAMES[name](**values), settings=values)
    path, colon, function = name.rpartition(":")
    if name.endswith(".py"):
        raise InputError("the game's function is not named", name, f"write {name}:losses, say")
    if not colon or not path.endswith(".py"):
        raise InputError(
            f"unknown game {name!r}{nearest(name, GAMES)}",
            "GAME",
            f"choose one of {', '.join(GAMES)}, a run folder of a GAN, or give path.py:losses",
        )
    return _from_file(Path(path), function, name, settings or {})


def _settings(where: str, make: Callable[..., Any], given: dict[str, Any]) -> dict[str, Any]:
    """Return every parameter of `make` that has a default, with the given values in place."""
    known = {
        p.name: p.default
        for p in inspect.signature(make).parameters.values()
        if p.default is not inspect.Parameter.empty
    }
    for key in given:
        if key not in known:
            raise InputError(
                f"unknown setting {key!r}{nearest(key, known)}",
                where,
                f"choose one of {', '.join(known)}" if known else "it has none but step",
            )
    read = {k: _read(where, k, given[k], known[k]) for k in given}
    return {**known, **read}


def _read(where: str, name: str, value: Any, default: Any) -> Any:
    """Return a number, read from text where it is text."""
    mend = f"write --set {name}={default}, say"
    if isinstance(value, str):
        try:
            value = int(value) if value.lstrip("+-").isdigit() else float(value)
        except ValueError as error:
            raise InputError(f"{name}={value} is not a number", where, mend) from error
    if isinstance(value, int | float) and not math.isfinite(value):
        raise InputError(f"{name}={value} is not finite", where, mend)
    return float(value) if isinstance(default, float) and isinstance(value, int) else value


def _whole(where: str, name: str, value: Any, make: Callable[..., Any]) -> Any:
    """Return the value of a built-in game's parameter; counts must be whole and at least 1."""
    default = inspect.signature(make).parameters[name].default
    if isinstance(default, int) and (value != int(value) or value < (0 if name == "seed" else 1)):
        least = 0 if name == "seed" else 1
        raise InputError(
            f"{name} must be a whole number of at least {least}, got {value}",
            where,
            f"set {name}={default}",
        )
    return type(default)(value)


def _from_file(path: Path, function: str, name: str, settings: dict[str, Any]) -> NamedGame:
    module = python_module(path, "give path.py:function")
    losses = function_of(module, function, path, "define losses(players), one loss a player")
    values = _settings(name, losses, settings)
    game = _as_losses(losses, values)
    players = _start(module, losses, game, path)
    names = tuple(f"player {i + 1}" for i in range(len(players)))
    return NamedGame(name, _zero_sum(game, players), players, names, values)


def _one_by_one(losses: Callable[..., Any]) -> int:
    """Return how many players the function takes by position; 0 if it takes them as a tuple."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(losses).parameters.values()
    count = sum(p.kind in kinds and p.default is inspect.Parameter.empty for p in parameters)
    return count if count > 1 else 0


def _as_losses(losses: Callable[..., Any], values: dict[str, Any]) -> Callable[[Players], Any]:
    """Return the function of the players as a tuple, its settings filled in."""
    if _one_by_one(losses):
        return lambda players: losses(*players, **values)
    return lambda players: losses(players, **values)


def _zero_sum(losses: Callable[[Players], Any], players: Players) -> Callable[[Players], Any]:
    """Return the losses; one number L becomes (L,) for one player and (L, -L) for two."""
    shape = _shape(losses, players)
    if len(players) <= 2 and getattr(shape, "shape", None) == ():
        bundled: Callable[[Players], Any] = lambda p: _pair(losses(p))[: len(p)]  # noqa: E731
    else:
        bundled = losses
    check_losses(bundled, players)
    return bundled


def _pair(value: Any) -> tuple[Any, Any]:
    return value, -value


def _shape(losses: Callable[[Players], Any], players: Players) -> Any:
    """Return the shape of what the losses return; None where they fail."""
    try:
        return jax.eval_shape(losses, players)
    except (Exception, SystemExit):  # noqa: BLE001 - the user's function may raise anything
        return None


def _start(
    module: Any, losses: Callable[..., Any], game: Callable[[Players], Any], path: Path
) -> Players:
    given: Any = getattr(module, "start", None)
    if callable(given):
        try:
            given = given()
        except Exception as error:
            raise InputError(
                f"start() fails: {type(error).__name__}: {error}", str(path), "run it by itself"
            ) from error
    if given is not None:
        return as_players(given)
    count = _one_by_one(losses)
    choices = [count] if count else [2, 1, 3, 4]
    for n in choices:
        players = as_players((0.5,) * n)
        shape = _shape(game, players)
        alone = getattr(shape, "shape", None) == ()
        scalars = [getattr(s, "shape", None) == () for s in jax.tree.leaves(shape)]
        if (alone and n <= 2) or (not alone and scalars and all(scalars) and len(scalars) == n):
            return players
    raise InputError(
        f"the shapes of the players are not known: {choices[0]} numbers do not fit"
        f"{_failure(game, as_players((0.5,) * choices[0]))}",
        str(path),
        "define start = (player_1, player_2) beside the losses, arrays of the right shapes",
    )


def _failure(losses: Callable[[Players], Any], players: Players) -> str:
    """Return why the losses fail on the players, if they do."""
    try:
        check_losses(losses, players)
    except InputError as error:
        return f" ({error.what})"
    return ""
