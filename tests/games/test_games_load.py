"""Games by name and from a user's file, and every way in which the file can fail."""

from __future__ import annotations

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from jensen._errors import InputError
from jensen.games.builtin import GAMES, robust_logistic_data
from jensen.games.load import load_game

HEAD = "import jax.numpy as jnp\n"


@pytest.fixture
def write(tmp_path: Path):
    def make(text: str, function: str = "losses") -> str:
        path = tmp_path / "game.py"
        path.write_text(HEAD + text)
        return f"{path}:{function}"

    return make


def values(name: str, players: tuple, **settings: str) -> list[float]:
    game = load_game(name, settings)
    return [float(v) for v in game.losses(tuple(jnp.asarray(p) for p in players))]


@pytest.mark.parametrize("name", GAMES)
def test_every_built_in_game_by_name(name):
    game = load_game(name)
    assert game.name == name
    assert len(game.names) == len(game.start) == 2
    assert np.isfinite([float(v) for v in game.losses(game.start)]).all()


def test_settings_are_read_as_what_they_are():
    game = load_game("bilinear", {"scale": "2", "dim": "3"})
    assert game.settings == {"scale": 2.0, "curvature": 0.0, "dim": 3}
    assert isinstance(game.settings["scale"], float)
    assert isinstance(game.settings["dim"], int)
    assert game.start[0].shape == (3,)
    assert values("bilinear", ([2.0], [3.0]), scale="1e1") == [60.0, -60.0]
    assert load_game("robust-logistic", {"ridge": 0.5, "seed": "0"}).losses.ridge == 0.5


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"gama": "1"}, r"unknown setting 'gama' \(did you mean 'gamma'\?\)"),
        ({"gamma": "much"}, "gamma=much is not a number"),
        ({"gamma": "nan"}, "gamma=nan is not finite"),
        ({"gamma": "inf"}, "gamma=inf is not finite"),
    ],
)
def test_settings_that_are_refused(settings, match):
    with pytest.raises(InputError, match=match):
        load_game("dirac-gan", settings)


@pytest.mark.parametrize("dim", ["2.5", "0", "-1", 0, 2.5])
def test_counts_are_whole_and_at_least_one(dim):
    with pytest.raises(InputError, match="dim must be a whole number of at least 1"):
        load_game("bilinear", {"dim": dim})


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("dirac-gam", r"unknown game 'dirac-gam' \(did you mean 'dirac-gan'\?\)"),
        ("game.txt:losses", "give path.py:losses"),
        ("game.py", "write game.py:losses"),
        ("no/such/file.py:losses", "no such file"),
    ],
)
def test_names_that_are_refused(name, match):
    with pytest.raises(InputError, match=match):
        load_game(name)


def test_the_documents_data_and_losses():
    """The losses at one point, written out in numpy; the data begin as the document's do."""
    np.random.seed(0)
    X = np.random.randn(30, 20)
    Y = 2 * np.random.randint(2, size=30) - 1
    assert np.array_equal(robust_logistic_data()[0], X)
    assert np.array_equal(robust_logistic_data()[1], Y)
    theta, phi = np.linspace(-1, 1, 20), np.linspace(0, 0.1, 20)
    want = np.logaddexp(0, -Y * ((X - phi) @ theta)).mean() - 15 * phi @ phi
    found = values("robust-logistic", (theta, phi), ridge="0.5")
    assert found == pytest.approx([want + 0.25 * theta @ theta, -want], rel=1e-5)


def test_a_file_with_a_start_and_settings(write):
    name = write(
        "start = (jnp.ones(2), jnp.zeros(3))\n"
        "def losses(players, gamma=0.5, power=2):\n"
        "    x, y = players\n"
        "    return gamma * jnp.sum(x**power), jnp.sum(y)\n"
    )
    game = load_game(name, {"gamma": "2"})
    assert game.settings == {"gamma": 2.0, "power": 2}
    assert [p.shape for p in game.start] == [(2,), (3,)]
    assert [float(v) for v in game.losses(game.start)] == [4.0, 0.0]
    assert game.names == ("player 1", "player 2")
    with pytest.raises(InputError, match="did you mean 'gamma'"):
        load_game(name, {"gamme": "2"})


def test_a_whole_default_of_a_user_takes_any_number(write):
    name = write("def losses(x, y, gamma=1):\n    return gamma * x * y, -x * y\n")
    assert values(name, (2.0, 3.0), gamma="0.5") == [3.0, -6.0]
    assert values(name, (2.0, 3.0), gamma="-3") == [-18.0, -6.0]


@pytest.mark.parametrize(
    "text",
    [
        "def losses(x, y):\n    return x * y, -x * y\n",
        "def losses(x, y):\n    return x * y\n",
        "def losses(players):\n    x, y = players\n    return x * y\n",
        "def losses(players):\n    return players[0] * players[1], -players[0] * players[1]\n",
        "start = lambda: (0.5, 0.5)\ndef losses(players):\n    return players[0] * players[1]\n",
        "from __future__ import annotations\n"
        "from dataclasses import dataclass\n"
        "@dataclass\nclass Game:\n    scale: float = 1.0\n"
        "    def __call__(self, x, y):\n        return self.scale * x * y\n"
        "losses = Game()\n",
    ],
    ids=["by position", "one number", "a tuple", "indexed", "start()", "an object"],
)
def test_ways_to_write_the_bilinear_game(write, text, tmp_path):
    name = write(text)
    if "__future__" in text:
        (tmp_path / "game.py").write_text(text)
    assert values(name, (2.0, 3.0)) == [6.0, -6.0]
    assert len(load_game(name).start) == 2


def test_three_players_by_position_and_one(write):
    name = write("def losses(x, y, z):\n    return x * y, y * z, z * x\n")
    assert values(name, (2.0, 3.0, 5.0)) == [6.0, 15.0, 10.0]
    assert len(load_game(name).start) == 3
    alone = write("start = (jnp.ones(2),)\ndef losses(players):\n    return jnp.sum(players[0])\n")
    assert values(alone, (np.ones(2),)) == [2.0]


def test_a_file_may_import_its_neighbours(write, tmp_path):
    (tmp_path / "neighbour_of_a_game.py").write_text("SCALE = 3.0\n")
    name = write(
        "from neighbour_of_a_game import SCALE\ndef losses(x, y):\n    return SCALE * x * y\n"
    )
    assert values(name, (1.0, 1.0)) == [3.0, -3.0]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("1 / 0\n", "the file fails: ZeroDivisionError"),
        ("def losses(:\n", "the file fails: SyntaxError"),
        ("import no_such_module_at_all\n", "the file fails: ModuleNotFoundError"),
        ("raise SystemExit(3)\n", "the file fails: SystemExit"),
        ("def loses(x, y):\n    return x * y\n", "no function 'losses' .*did you mean 'loses'"),
        ("losses = 3\n", "no function 'losses'"),
        (
            "import numpy as np\ndef losses(x, y):\n    return np.log(x) * y\n",
            "TracerArrayConversionError",
        ),
        ("def losses(x, y):\n    return x * y, x, y\n", "do not fit .*2 players but a tuple of"),
        (
            "start = (jnp.ones(2), jnp.ones(2))\ndef losses(p):\n    return p[0] * p[1], p[0]\n",
            r"2 players but a tuple of float32\[2\]",
        ),
        ("start = jnp.ones(2)\ndef losses(p):\n    return p[0]\n", "must be a tuple"),
        ("start = ()\ndef losses(p):\n    return 0.0\n", "must be a tuple"),
        (
            "def start():\n    return 1 / 0\ndef losses(p):\n    return p[0]\n",
            "start.. fails: Zero",
        ),
        (
            "def losses(p):\n    return p[0] @ p[1]\n",
            "the players are not known .*define start|define start",
        ),
    ],
)
def test_files_that_are_refused(write, text, match):
    with pytest.raises(InputError, match=match):
        load_game(write(text))
