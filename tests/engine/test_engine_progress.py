"""The progress line: which losses it shows, each in its own unit."""

import io
import math

from jensen.engine.progress import DENSITY, GAME, Progress, losses_of

ROW = {"train_loss": 1.25, "train_loss_2": -0.5, "validation_loss": 0.125}


def line_of(family, row):
    stream = io.StringIO()
    with Progress("x on y", losses_of(family), stream, every=0.0) as progress:
        progress(10, 40, row)
    return stream.getvalue()


def test_losses_of_a_density_are_nats():
    expected = "x on y  train 1.2500 nats  validation 0.1250 nats  step 10/40\n"
    assert line_of("flow", ROW) == line_of("vae", ROW) == expected


def test_losses_of_a_game_have_no_unit_but_the_divergence_has():
    assert line_of("gan", ROW) == (
        "x on y  discriminator 1.2500  generator -0.5000  held-out JSD 0.1250 nats  step 10/40\n"
    )


def test_what_is_not_known_yet_is_not_shown():
    early = {**ROW, "train_loss": math.nan, "train_loss_2": math.nan}
    assert line_of("gan", early) == "x on y  held-out JSD 0.1250 nats  step 10/40\n"
    assert line_of("gan", None) == line_of("flow", None) == "x on y  step 10/40\n"


def test_every_unit_is_stated_or_empty():
    assert all(unit in ("", "nats") for _, _, unit in (*DENSITY, *GAME))
