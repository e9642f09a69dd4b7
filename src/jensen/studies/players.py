r"""Players of a GAN as the studies begin them: two plain networks."""

from __future__ import annotations

import equinox as eqx
import jax

from jensen._typing import Key
from jensen.models.implicit import Discriminator, Generator


class PairInit(eqx.Module):
    """How a pair of networks begins: `init(key) -> (Discriminator, Generator)`.

    Args:
        dim: D.
        latent_dim: L, length of z.
        hidden: widths of the discriminator's hidden layers.
        generator: widths of the generator's; None for the same.
        activation: of both.
        skip: whether the generator adds z to its numbers, and so begins as N(0, I).
    """

    dim: int = eqx.field(static=True)
    latent_dim: int = eqx.field(static=True)
    hidden: tuple[int, ...] = eqx.field(static=True)
    generator: tuple[int, ...] | None = eqx.field(static=True, default=None)
    activation: str = eqx.field(static=True, default="tanh")
    skip: bool = eqx.field(static=True, default=True)

    def __call__(self, key: Key) -> tuple[Discriminator, Generator]:
        """Return the two players."""
        for_discriminator, for_generator = jax.random.split(key)
        return (
            Discriminator(for_discriminator, self.dim, self.hidden, activation=self.activation),
            Generator(
                for_generator,
                self.dim,
                self.generator or self.hidden,
                latent_dim=self.latent_dim,
                activation=self.activation,
                skip=self.skip,
            ),
        )
