r"""Games that come with the library, each a small statement of theory.

    bilinear          min_x max_y  s xᵀy + c/2 ‖x‖² - c/2 ‖y‖²
    dirac-gan         min_θ max_ψ  log σ(ψ₁) + log σ(-ψ₀θ - ψ₁) - γ/2 ψ₀²
    gaussian-gan      min_{a,b} max_w  E log σ(w·φ(X)) + E log σ(-w·φ(a + bZ)) - γ/2 E (∂ₓ w·φ(X))²
    robust-logistic   min_θ max_φ  1/N Σ softplus(-Yᵢ (Xᵢ - φ)ᵀθ) - λ/2 ‖φ‖² + ρ/2 ‖θ‖²

with φ(x) = (1, x, x²), X ~ N(m, s²), Z ~ N(0, 1). In the GANs the discriminator is the first player
and maximises; the last term of each is the R₁ penalty E‖∇ₓC‖²·γ/2, which is the discriminator's
alone.

Sources: Mescheder et al. 2018 (arXiv:1801.04406), here with the discriminator's bias ψ₁.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen._typing import Array
from jensen.games.rules import Players

STEP = 0.2
"""The step η of a game's rules where none is given."""


class Bilinear(eqx.Module):
    """The bilinear game, with curvature c for both players.

    Args:
        scale: s.
        curvature: c.
    """

    scale: float = 1.0
    curvature: float = 0.0

    def __call__(self, players: Players) -> tuple[Array, Array]:
        """Return the losses of x and y."""
        x, y = players
        value = self.scale * jnp.vdot(x, y)
        square = 0.5 * self.curvature
        return value + square * jnp.vdot(x, x), -value + square * jnp.vdot(y, y)


class DiracGAN(eqx.Module):
    """The Dirac-GAN: data δ₀, generator δ_θ, critic C(x) = ψ₀x + ψ₁, R₁ weight γ.

    Args:
        gamma: γ.
    """

    gamma: float = 0.0

    def __call__(self, players: Players) -> tuple[Array, Array]:
        """Return the losses of the discriminator ψ `(2,)` and the generator θ `()`."""
        psi, theta = players
        value = jax.nn.log_sigmoid(psi[1]) + jax.nn.log_sigmoid(-psi[0] * theta - psi[1])
        return -value + 0.5 * self.gamma * psi[0] ** 2, value


class GaussianGAN(eqx.Module):
    """A GAN between Gaussians with a quadratic discriminator, its expectations by quadrature.

    Args:
        gamma: weight γ of R₁.
        mean: m of the data.
        sd: s of the data.
        nodes: of the Gauss–Hermite rule.
    """

    gamma: float = 0.0
    mean: float = 1.0
    sd: float = 0.5
    nodes: int = eqx.field(default=64, static=True)

    def __call__(self, players: Players) -> tuple[Array, Array]:
        """Return the losses of the discriminator w `(3,)` and the generator (a, b) `(2,)`."""
        w, (a, b) = players
        nodes, weights = np.polynomial.hermite_e.hermegauss(self.nodes)
        z = jnp.asarray(nodes)
        weights = jnp.asarray(weights / weights.sum())
        real, fake = self.mean + self.sd * z, a + b * z

        def critic(x: Array) -> Array:
            return w[0] + w[1] * x + w[2] * x**2

        value = weights @ (jax.nn.log_sigmoid(critic(real)) + jax.nn.log_sigmoid(-critic(fake)))
        slope = weights @ (w[1] + 2 * w[2] * real) ** 2
        return -value + 0.5 * self.gamma * slope, value


class RobustLogistic(eqx.Module):
    """Robust logistic regression: the data may be moved by φ, at a price.

    Args:
        X: `(N, p)`.
        Y: `(N,)`, -1 or 1.
        lam: λ, the price.
        ridge: ρ.
    """

    X: Any
    Y: Any
    lam: float = 30.0
    ridge: float = 0.0

    def __call__(self, players: Players) -> tuple[Array, Array]:
        """Return the losses of θ `(p,)` and φ `(p,)` on the whole data."""
        return self.sample(players, (self.X, self.Y))

    def sample(self, players: Players, sample: tuple[Array, Array]) -> tuple[Array, Array]:
        """Return the losses on some rows: x `(…, p)` and y `(…)`."""
        theta, phi = players
        x, y = sample
        value = jnp.mean(jax.nn.softplus(-y * ((x - phi) @ theta)))
        value = value - 0.5 * self.lam * jnp.vdot(phi, phi)
        return value + 0.5 * self.ridge * jnp.vdot(theta, theta), -value


def robust_logistic_data(n: int = 30, p: int = 20, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows X `(n, p)` and labels Y `(n,)` of the source document's starter code.

    Example:
        >>> X, Y = robust_logistic_data()
        >>> X.shape, sorted(set(Y.tolist()))
        ((30, 20), [-1.0, 1.0])
    """
    random = np.random.RandomState(seed)
    X = random.randn(n, p)
    return X, 2.0 * random.randint(2, size=n) - 1.0


@dataclass(frozen=True)
class NamedGame:
    """A game with names, ready to be examined.

    Attributes:
        name: of the game.
        losses: `losses(players) -> (loss_1, …)`.
        start: the players where a search begins.
        names: of the players.
        settings: the values its parameters have.
        step: η of the rules where none is given.
        remarks: what a user should know of it.
    """

    name: str
    losses: Any
    start: Players
    names: tuple[str, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    step: float = STEP
    remarks: tuple[str, ...] = ()


def bilinear(scale: float = 1.0, curvature: float = 0.0, dim: int = 1) -> NamedGame:
    """Return the bilinear game in `dim` dimensions a player."""
    start = (np.ones(dim), np.ones(dim))
    return NamedGame("bilinear", Bilinear(scale, curvature), start, ("x", "y"))


def dirac_gan(gamma: float = 0.0) -> NamedGame:
    """Return the Dirac-GAN with R₁ weight γ."""
    start = (np.array([0.5, 0.2]), np.array(0.5))
    return NamedGame("dirac-gan", DiracGAN(gamma), start, ("discriminator", "generator"))


def gaussian_gan(gamma: float = 0.0, mean: float = 1.0, sd: float = 0.5) -> NamedGame:
    """Return the Gaussian GAN; its generator finds (mean, ±sd)."""
    start = (np.zeros(3), np.array([mean + 0.2, 1.2 * sd]))
    game = GaussianGAN(gamma, mean, sd)
    return NamedGame("gaussian-gan", game, start, ("discriminator", "generator"))


def robust_logistic(
    lam: float = 30.0, ridge: float = 0.01, rows: int = 30, columns: int = 20, seed: int = 0
) -> NamedGame:
    """Return robust logistic regression on the source document's data, with a small ridge.

    A line separates those data, so that without a ridge θ grows for ever and there is no
    stationary point.
    """
    X, Y = robust_logistic_data(rows, columns, seed)
    start = (np.zeros(columns), np.zeros(columns))
    game = RobustLogistic(X, Y, lam, ridge)
    remark = f"a ridge of {ridge:g} on θ keeps the stationary point finite (--set ridge=R)"
    remarks = (remark,) if ridge else ()
    return NamedGame("robust-logistic", game, start, ("theta", "phi"), step=0.02, remarks=remarks)


GAMES: dict[str, Callable[..., NamedGame]] = {
    "bilinear": bilinear,
    "dirac-gan": dirac_gan,
    "gaussian-gan": gaussian_gan,
    "robust-logistic": robust_logistic,
}
"""The built-in games by name; their keyword arguments are the settings."""
