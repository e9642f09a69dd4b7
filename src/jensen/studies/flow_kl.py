r"""Flows in both directions of Kullback and Leibler: what each needs, finds, and misses.

    KL(P_X ‖ P_F(U)) = KL(P_F⁻¹(X) ‖ P_U)        for every bijection F
    forward   KL(p ‖ q):  needs draws of p, covers its mass
    reverse   KL(q ‖ p):  needs log p up to a constant, seeks a mode; draws of q estimate log Z

The identity is checked by two integrals that share nothing but F: one over x with F⁻¹, one over u
with F. The fits are measured by a third, over the plane. What the draws of q cannot show, a mode
that q never visits, chains that know nothing of q show.

Source: the course documents' problem on normalizing flows; Papamakarios et al. 2021
(arXiv:1912.02762), sec. 2.3.
"""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen.engine.config import Optimisation, Training
from jensen.engine.run import Game, train
from jensen.evaluation.certificate import Certificate, certify
from jensen.evaluation.target import log_densities, search
from jensen.fitting import fit_log_density
from jensen.fitting.target import Continued
from jensen.models.flow import Flow, PlanarFlow
from jensen.objectives.likelihood import Mean, NegativeLogProb
from jensen.objectives.reverse import ReverseKL
from jensen.report.curves import curves
from jensen.report.planes import planes
from jensen.report.spread import estimates
from jensen.studies.flow_identity import (
    DISTANCES,
    LOG_Z,
    MODES,
    SPREAD,
    Bimodal,
    affine,
    bimodal,
    built,
    grid,
    identity,
    kl,
    log_prob,
    mapped,
    path_gradient,
    values,
)
from jensen.studies.notebook import Notebook

HALF, POINTS = 12.0, 301
"""The grid on each axis: from -12 to 12."""
SCALE = 6.0
"""Standard deviation of the law in which chains start."""
SHOWN = slice(50, 251)
"""Of the grid's points on each axis: -8 to 8."""

apart = Bimodal(np.float32(2.0))
"""The same with its modes twice as far from 0."""


def study(book: Notebook) -> None:
    """Check the identity, the path gradient, both directions of fit, and log Z."""
    identity(book)
    spreads = path_gradient(book)
    shown = _directions(book)
    dropped = _dropped_mode(book)
    trusted = _known_integral(book)
    _draw(book, shown, spreads, dropped, trusted)
    book.used = "made: a bimodal density in the plane"


def _affine() -> Flow:
    """Return an affine flow that begins a little to the left."""
    return eqx.tree_at(lambda f: f.bijection.bias, affine(), jnp.array([1.0, 0.0]))


def fitted(
    flow: Flow, book: Notebook, *, reverse: bool, steps: int, log_density: Any = bimodal
) -> Flow:
    """Return a flow trained on a bimodal density: from its draws, or from its values."""
    random = np.random.default_rng(book.seed)
    n = 6400
    rows = np.asarray(MODES)[random.integers(2, size=n)] + SPREAD * random.normal(size=(n, 2))
    loss = ReverseKL(log_density) if reverse else NegativeLogProb()
    optimisation = Optimisation(batch_size=128, learning_rate=5e-3, warmup=0, ema=0.99)
    training = Training(epochs=-(-steps // 50), evaluate_every=500, optimisation=optimisation)
    game = Game(Continued((flow,)), Mean(loss), loss)
    found = train(game, rows.astype(np.float32), None, training, seed=book.seed)
    return jax.tree.map(lambda a: a[0] if eqx.is_array(a) else a, found.players[0])


def _directions(book: Notebook) -> dict[str, np.ndarray]:
    """Fit an affine and a planar flow in both directions; measure both KLs of each fit.

    Returns the log-densities of the target and of the fits on the grid.
    """
    steps = 1000 if book.quick else 4000
    key = jax.random.key(book.seed)
    starts = {
        "affine": _affine(),
        "planar": built(PlanarFlow, key, 2, n_layers=8, linear=True),
    }
    fits = {
        f"{name}, {way}": fitted(flow, book, reverse=way == "reverse", steps=steps)
        for name, flow in starts.items()
        for way in ("forward", "reverse")
    }
    points, weights = grid(2, HALF, POINTS)
    log_p, log_prob_of = values(bimodal, points) - LOG_Z, mapped(log_prob)
    log_q = {name: log_prob_of(points, flow) for name, flow in fits.items()}
    forward = {name: kl(log_p, q, weights) for name, q in log_q.items()}
    backward = {name: kl(q, log_p, weights) for name, q in log_q.items()}
    _compare(book, forward, backward)
    right = points[:, 0] > 0
    shares = {k: float(np.sum(weights * np.exp(q) * right)) for k, q in log_q.items()}
    book.equal(
        "covers-both",
        "share of the affine forward fit on the right (half by symmetry)",
        shares["affine, forward"],
        0.5,
        0.1,
    )
    lesser = min(shares["affine, reverse"], 1 - shares["affine, reverse"])
    book.at_most("seeks-one", "share of the affine reverse fit on its lesser side", lesser, 0.02)
    book.equal(
        "affine-reverse-value",
        "KL(q ‖ p) of the affine reverse fit: log 2, the mode that it drops (nats; 0.02 for what "
        "training leaves and the overlap of the modes)",
        backward["affine, reverse"],
        float(np.log(2.0)),
        0.02,
    )
    return {"target": log_p, **log_q}


def _compare(book: Notebook, forward: dict[str, float], backward: dict[str, float]) -> None:
    """Compare the fits by KL(p ‖ q) and by KL(q ‖ p)."""
    book.at_least(
        "forward-covers",
        "KL(p ‖ q) of the reverse fit above that of the forward fit, affine flow (nats)",
        forward["affine, reverse"] - forward["affine, forward"],
        0.0,
    )
    book.at_least(
        "reverse-seeks",
        "KL(q ‖ p) of the forward fit above that of the reverse fit, affine flow (nats)",
        backward["affine, forward"] - backward["affine, reverse"],
        0.0,
    )
    book.at_most(
        "planar-forward",
        "KL(p ‖ q) of a planar flow fitted to draws (nats)",
        forward["planar, forward"],
        0.1,
    )
    book.at_most(
        "planar-reverse",
        "KL(q ‖ p) of a planar flow fitted to the density (nats)",
        backward["planar, reverse"],
        0.1,
    )
    for name in ("affine", "planar"):
        a, b = f"{name}, forward", f"{name}, reverse"
        book.remark(
            f"{name} flow: KL(p ‖ q) is {forward[a]:.3f} after the forward fit, {forward[b]:.3f} "
            f"after the reverse; KL(q ‖ p) is {backward[a]:.3f} and {backward[b]:.3f} nats"
        )


def _dropped_mode(book: Notebook) -> Certificate:
    """Judge a flow that dropped a mode: its own draws see nothing, the chains see it."""
    chains = search(apart, 2, scale=SCALE, n_chains=512, n_temperatures=200, seed=book.seed)
    flow = fitted(_affine(), book, reverse=True, steps=1000, log_density=apart)
    keys = jax.random.split(jax.random.key(book.seed + 1), 10_000)
    draws = np.asarray(jax.jit(jax.vmap(flow.sample))(keys))
    points = chains.points.astype(np.float32)
    found = certify(
        values(log_prob, draws, flow),
        log_densities(apart, draws),
        chains,
        values(log_prob, points, flow),
        log_densities(apart, points),
    )
    book.at_most(
        "blind-k-hat", "Pareto k-hat of a flow without one of two modes", found.pareto_k, 0.7
    )
    book.at_least("blind-ess", "share of its draws that are effective", found.ess / found.n, 0.8)
    book.equal(
        "blind-log-z",
        "its log Z, too low by log 2 (nats; 0.02 for its errors)",
        found.log_z,
        LOG_Z - np.log(2.0),
        0.02,
    )
    book.equal(
        "missed-mass",
        "share of the target that the chains find and it misses (3 standard errors)",
        found.missed,
        0.5,
        3 * found.missed_se + 0.01,
    )
    book.true(
        "flagged", "the verdict warns of it", not found.trusted and "misses mass" in found.verdict()
    )
    return found


def log_mean(log_w: np.ndarray) -> float:
    """Return log of the mean of exp(log_w), by the plain sum."""
    return float(np.log(sum(float(np.exp(v)) for v in log_w) / len(log_w)))


def _known_integral(book: Notebook) -> Certificate:
    """Fit the density by the library; compare log Z with the truth."""
    short = {"epochs": 8, "annealing": 12, "architecture": "planar", "n_layers": 12}
    size: dict[str, Any] = short if book.quick else {"epochs": 20}
    fit = fit_log_density(
        bimodal, 2, seed=book.seed, scale=SCALE, chains=512, temperatures=200, **size
    )
    found = fit.certificate
    book.equal(
        "log-z",
        "log Z by reverse KL (nats; 3 of its standard errors, 0.3% false alarms)",
        found.log_z,
        LOG_Z,
        3 * found.se,
    )
    book.at_least("ess", "share of its draws that are effective", found.ess / found.n, 0.5)
    book.at_most("k-hat", "Pareto k-hat of its weights", found.pareto_k, 0.7)
    book.true("believed", "the verdict says that it can be believed", found.trusted)
    value, se = found.forward_kl
    book.at_most("forward-kl", "KL(p ‖ q) by the chains (nats)", value, 0.1, 3 * se)
    draws = fit.sample(2000, book.seed)
    log_w = log_densities(bimodal, draws.astype(np.float32)) - fit.log_prob(draws)
    spread = np.std(np.exp(log_w - LOG_Z)) / np.sqrt(len(log_w))
    book.equal(
        "by-hand",
        "log of the plain mean of 2,000 other weights against log Z of the library (nats; 4 of "
        "their standard errors)",
        log_mean(log_w),
        found.log_z,
        4 * np.hypot(spread, found.se),
    )
    return found


def _draw(
    book: Notebook,
    shown: dict[str, np.ndarray],
    spreads: dict[str, list[float]],
    dropped: Certificate,
    trusted: Certificate,
) -> None:
    line = np.linspace(-HALF, HALF, POINTS)[SHOWN]
    by_row = {k: v.reshape(POINTS, POINTS)[SHOWN, SHOWN].T for k, v in shown.items()}
    book.figure(planes(line, line, by_row), "flow-kl-fits")
    book.figure(
        estimates(
            [
                ("flow, both modes", trusted.log_z, trusted.se, LOG_Z),
                ("flow without a mode", dropped.log_z, dropped.weights_se, LOG_Z),
                ("chains", dropped.chains_log_z, dropped.chains_se, LOG_Z),
            ],
            unit="log Z (nats)",
        ),
        "flow-kl-log-z",
    )
    book.figure(
        curves(
            DISTANCES[1:],
            {"spread (nats)": {k: v[1:] for k, v in spreads.items()}},
            xlabel="noise added to the parameters (standard deviation)",
            title="Spread of both gradients near the optimum",
        ),
        "flow-kl-gradients",
    )
