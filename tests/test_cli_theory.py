"""The command line on theory: studies, matrix games, stability."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from cli_tools import ROWS, TINY_OPTIONS, Cli, caller, write_table
from jensen.games.rules import RULES


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    return caller(monkeypatch, capsys)


def document(text: str) -> dict:
    return json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} in JSON"))


@pytest.mark.parametrize("gamma", [0.0, 0.3, 1.0, 1.5, 3.0])
def test_stability_of_the_dirac_gan(gamma, cli):
    code, out, _ = cli("stability", "dirac-gan", "--set", f"gamma={gamma}", "--json")
    found = document(out)
    assert code == 0
    assert {"game", "point", "eigenvalues", "continuous", "rules"} <= set(found)
    root = np.sqrt(complex(gamma**2 - 1))
    want = np.array([-0.5, (-gamma + root) / 2, (-gamma - root) / 2])
    ours = np.array([complex(*pair) for pair in found["eigenvalues"]])
    order = lambda v: v[np.lexsort((v.imag, v.real.round(6)))]  # noqa: E731
    # at gamma = 1 the eigenvalue is defective: half the digits
    assert np.abs(order(ours) - order(want)).max() < (1e-7 if gamma == 1 else 1e-10)
    assert found["continuous"] == ("marginal" if gamma == 0 else "stable")
    assert set(found["rules"]) == set(RULES)
    for rule in found["rules"].values():
        assert {"radius", "verdict", "largest_stable_step"} <= set(rule)
        assert rule["verdict"] in {"stable", "unstable", "marginal"}
    assert np.abs(found["point"]).max() < 1e-9


@pytest.mark.parametrize("game", ["bilinear", "gaussian-gan", "robust-logistic"])
def test_every_built_in_game_has_an_answer(game, cli):
    code, out, _ = cli("stability", game)
    assert code == 0
    assert "eigenvalues" in out
    assert all(rule in out for rule in RULES)


def test_a_game_of_the_user(tmp_path, cli):
    path = tmp_path / "mine.py"
    path.write_text(
        "import jax.numpy as jnp\n"
        "start = (jnp.ones(2), jnp.ones(2))\n"
        "def losses(players, c=0.5):\n"
        "    x, y = players\n"
        "    value = x @ y + c * x @ x / 2 - c * y @ y / 2\n"
        "    return value, -value\n"
    )
    code, out, _ = cli("stability", f"{path}:losses", "--set", "c=0.25", "--json")
    found = document(out)
    assert code == 0
    ours = sorted(found["eigenvalues"])
    assert np.allclose(ours, [[-0.25, -1], [-0.25, -1], [-0.25, 1], [-0.25, 1]], atol=1e-12)
    assert found["continuous"] == "stable"


def test_rock_paper_scissors(tmp_path, cli):
    path = tmp_path / "rps.csv"
    path.write_text("0,-1,1\n1,0,-1\n-1,1,0\n")
    code, out, _ = cli("solve-game", path, "--json")
    found = document(out)
    assert code == 0
    assert {"value", "row", "column", "gap", "unique"} <= set(found)
    assert abs(found["value"]) < 1e-12
    assert np.allclose(found["row"], 1 / 3)
    assert np.allclose(found["column"], 1 / 3)
    assert 0 <= found["gap"] < 1e-12
    assert found["unique"] is True
    code, out, _ = cli("solve-game", path)
    assert code == 0
    assert "the only one" in out


def test_a_continuum_of_optima_is_said(tmp_path, cli):
    path = tmp_path / "flat.csv"
    path.write_text("1,1\n1,1\n")
    code, out, _ = cli("solve-game", path, "--json")
    assert code == 0
    assert document(out)["unique"] is False


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("1,2\n3\n", "row 2"),
        ("1,x\n3,4\n", "column 2"),
        ("1,nan\n3,4\n", "column 2"),
        ("", "empty"),
    ],
)
def test_a_bad_payoff_is_one_line(text, says, tmp_path, cli):
    path = tmp_path / "bad.csv"
    path.write_text(text)
    code, out, err = cli("solve-game", path)
    assert code == 2
    assert out == ""
    assert len(err) == 1
    assert err[0].startswith("error: ")
    assert says in err[0]


BAD_GAMES = {
    "no-root.py": ("def losses(p):\n    return p[0] + p[1] ** 2, p[1]\n", "no stationary point"),
    "nan.py": (
        "import jax.numpy as jnp\n"
        "def losses(p):\n    return jnp.sqrt(-1 - p[0]**2), jnp.sqrt(-1 - p[1]**2)\n",
        "not finite",
    ),
    "broken.py": ("def losses(p)\n", "the file fails"),
    "other.py": ("def loses(p):\n    return p[0], p[1]\n", "did you mean 'loses'"),
    "numpy.py": (
        "import numpy as np\nstart = (1.0, 1.0)\ndef losses(p):\n    return np.log(p[0]), p[1]\n",
        "jax.numpy",
    ),
}


@pytest.mark.parametrize("name", BAD_GAMES)
def test_a_bad_game_is_one_line(name, tmp_path, cli):
    text, says = BAD_GAMES[name]
    (tmp_path / name).write_text(text)
    code, out, err = cli("stability", f"{tmp_path / name}:losses")
    assert (code, out) == (2, "")
    assert len(err) == 1
    assert says in err[0]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("dirac-gn",), "did you mean 'dirac-gan'"),
        (("dirac-gan", "--set", "gama=1"), "did you mean 'gamma'"),
        (("dirac-gan", "--set", "gamma=nan"), "finite"),
        (("dirac-gan", "--set", "step=-1"), "above 0"),
        (("dirac-gan", "--set", "step=0.1,0.2,0.3"), "for 2 players"),
        (("none.py:losses",), "no such file"),
    ],
)
def test_what_stability_refuses(arguments, says, cli):
    code, out, err = cli("stability", *arguments)
    assert (code, out) == (2, "")
    assert says in err[-1]


def test_a_flow_is_no_game(tmp_path, cli):
    write_table(tmp_path / "good.csv", ROWS, "a,b,c")
    code, _, _ = cli("fit", tmp_path / "good.csv", "--out", tmp_path / "run", *TINY_OPTIONS)
    assert code == 0
    code, out, err = cli("stability", tmp_path / "run")
    assert (code, out) == (2, "")
    assert "no game of several players" in err[-1]


def test_a_study_prints_its_claims_and_writes_its_figures(tmp_path, cli):
    code, out, _ = cli("study", "robust-logistic", "--quick", "--out", tmp_path / "s", "--json")
    found = document(out)
    assert code == 0
    assert {"study", "seconds", "seed", "quick", "data", "claims", "figures"} <= set(found)
    for claim in found["claims"]:
        keys = {"id", "statement", "expected", "measured", "tolerance", "holds"}
        assert set(claim) == keys
        assert claim["holds"] is True
    assert found["figures"]
    assert all(Path(path).stat().st_size > 1000 for path in found["figures"])


def test_a_failing_claim_ends_with_one(tmp_path, cli, monkeypatch):
    from jensen.studies import robust_logistic

    monkeypatch.setattr(robust_logistic, "study", lambda book: book.true("a", "so", False))
    code, out, _ = cli("study", "robust-logistic", "--out", tmp_path, "--json")
    assert code == 1
    assert document(out)["claims"][0]["holds"] is False
    code, out, _ = cli("study", "robust-logistic", "--out", tmp_path)
    assert code == 1
    assert "FAILS" in out


def test_the_list_of_studies(cli):
    code, out, _ = cli("study", "--list", "--json")
    assert code == 0
    assert "dirac-gan" in document(out)["studies"]
    code, out, err = cli("study")
    assert (code, out) == (2, "")
    assert "--list" in err[-1]


def test_what_a_users_file_prints_is_no_part_of_the_document(tmp_path, cli):
    path = tmp_path / "loud.py"
    path.write_text("print('read')\ndef losses(x, y):\n    print('traced')\n    return x * y\n")
    code, out, err = cli("stability", f"{path}:losses", "--json")
    assert code == 0
    assert document(out)["continuous"] == "marginal"
    assert "traced" in err


def test_a_folder_does_not_hide_a_game(tmp_path, cli, monkeypatch):
    (tmp_path / "bilinear").mkdir()
    monkeypatch.chdir(tmp_path)
    assert cli("stability", "bilinear")[0] == 0


@pytest.mark.slow
def test_a_large_game_is_examined_by_its_extremes(cli):
    code, out, _ = cli("stability", "bilinear", "--set", "dim=90", "--json")
    found = document(out)
    assert code == 0
    assert not found["all_eigenvalues"]
    assert abs(max(z[1] for z in found["eigenvalues"]) - 1) < 1e-6
    assert abs(found["rules"]["simultaneous"]["radius"] - 1.04**0.5) < 1e-6


def test_one_player_may_return_a_tuple_of_one(tmp_path, cli):
    path = tmp_path / "one.py"
    path.write_text("def losses(players):\n    return (players[0] ** 2,)\n")
    code, out, _ = cli("stability", f"{path}:losses", "--json")
    assert code == 0
    assert document(out)["eigenvalues"] == [[-2.0, 0.0]]
