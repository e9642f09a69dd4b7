r"""GANs of tables: the options, the game of two players, and the trained pair.

The players are, in this order, the discriminator C and the generator. With the alternating rule the
discriminator steps first, and each sees a fresh batch of generated rows. Rows become examples by
`jensen.data.examples`: whitened normal scores and one-hot categories, where the generator starts as
the best Gaussian. Weights are averaged over the steps, and the best average is kept, judged by a
cheap held-out Jensen–Shannon divergence (`jensen.objectives.validation`) on validation rows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen._errors import InputError
from jensen._typing import Array, Key
from jensen.data.examples import Examples, fit_examples
from jensen.data.output import TableWriter
from jensen.data.preprocess import fit_preprocess
from jensen.data.schema import Schema
from jensen.data.split import Split
from jensen.engine.checkpoint import Checkpoints
from jensen.engine.progress import Report, silent
from jensen.engine.run import Game, Result, train
from jensen.engine.state import steps_per_epoch
from jensen.fitting.family import (
    Arrays,
    Family,
    arrays_of,
    filled,
    preprocess_arrays,
    preprocess_of,
)
from jensen.fitting.judge import gan_figures
from jensen.fitting.options import GanOptions, default_recipe
from jensen.fitting.pair import TableGAN
from jensen.fitting.recipe import Recipe
from jensen.models.implicit import Discriminator, Generator
from jensen.objectives.validation import HeldOutJSD

_STEPS = 8000
_JUDGED_ROWS = 2000
_RECORDED = 500  # rows kept of each look at training
_EXAMPLES = ("quantiles", "bounds", "whiten")


class GanInit(eqx.Module):
    """How the players of a table's GAN begin: `init(key) -> (Discriminator, Generator)`.

    Args:
        logits: log-frequencies of the levels `(Σ n_j,)`, nats.
        options: the GAN's options.
        dim: D, the number of numeric columns.
        levels: n_j, the number of levels of each categorical column.
    """

    logits: Array
    options: GanOptions = eqx.field(static=True)
    dim: int = eqx.field(static=True)
    levels: tuple[int, ...] = eqx.field(static=True)

    def __call__(self, key: Key) -> tuple[Discriminator, Generator]:
        """Return the two players."""
        o = self.options
        if o.latent_dim is None or o.generator_width is None or o.generator_depth is None:
            raise InputError("the generator's sizes are not chosen yet", mend="use chosen_for")
        for_discriminator, for_generator = jax.random.split(key)
        discriminator = Discriminator(
            for_discriminator,
            o.packing * (self.dim + sum(self.levels)),
            (o.width,) * o.depth,
            activation=o.activation,
            spectral=o.normalisation == "spectral",
        )
        generator = Generator(
            for_generator,
            self.dim,
            (o.generator_width,) * o.generator_depth,
            latent_dim=o.latent_dim,
            levels=self.levels,
            activation=o.activation,
            skip=o.start == "gaussian",
            temperature=o.temperature,
            logits=self.logits if o.start == "gaussian" else None,
        )
        return discriminator, generator


def gan_init(recipe: Recipe, examples: Examples, logits: np.ndarray) -> GanInit:
    """Return how the players of a table's GAN begin.

    Args:
        recipe: the options.
        examples: the map between rows and examples.
        logits: log-frequencies of the levels `(Σ n_j,)`, nats.
    """
    return GanInit(jnp.asarray(logits, jnp.float32), recipe.options, examples.dim, examples.levels)


def fit_gan(
    schema: Schema,
    matrix: np.ndarray,
    recipe: Recipe,
    *,
    seed: int,
    split: Split,
    checkpoints: Checkpoints | None = None,
    report: Report = silent,
) -> tuple[TableGAN, Result]:
    """Fit a GAN to the training rows of a table.

    Args:
        schema: the table's columns.
        matrix: encoded rows `(n, columns)`.
        recipe: `GanOptions` and training.
        seed: all randomness.
        split: which rows train and which choose the weights.
        checkpoints: where to keep the state, or None.
        report: called with the progress.

    Returns:
        The pair of players with the best held-out divergence, and the engine's result.

    Raises:
        DivergedError: if training leaves the finite numbers.
    """
    recipe = chosen_for(recipe, schema, len(split.train))
    rows = matrix[split.train]
    preprocess = fit_preprocess(schema, rows)
    examples = fit_examples(preprocess, rows, recipe.options.margins, seed)
    vectors = examples.forward(rows, seed)
    shares = (vectors[:, examples.dim :].sum(axis=0) + 1.0) / (len(rows) + 1.0)
    optimisation = recipe.training.optimisation
    rates = (optimisation.learning_rate, optimisation.learning_rate * recipe.options.generator_rate)
    watch = None
    if checkpoints is not None:
        folder = checkpoints.folder.parent / "samples"
        watch = _Recorder(folder, examples, recipe.options, seed)
    result = train(
        Game(
            init=gan_init(recipe, examples, np.log(shares)),
            objective=recipe.options.objective(),
            validate=HeldOutJSD(packing=recipe.options.packing),
        ),
        vectors,
        (
            vectors[:_JUDGED_ROWS],
            examples.forward(matrix[split.validation[:_JUDGED_ROWS]], seed),
        ),
        replace(recipe.training, optimisation=replace(optimisation, learning_rate=rates)),
        seed=seed,
        checkpoints=checkpoints,
        report=report,
        watch=watch,
    )
    discriminator, generator = (_first(player) for player in result.players)
    return TableGAN(discriminator, generator, examples, recipe.options), result


@dataclass(frozen=True)
class _Recorder:
    """Keeps rows drawn during training, of the same noise each time, as `samples/STEP.parquet`."""

    folder: Path
    examples: Examples
    options: GanOptions
    seed: int

    def __call__(self, step: int, players: tuple[Any, ...]) -> None:
        discriminator, generator = players
        gan = TableGAN(discriminator, generator, self.examples, self.options)
        rows = gan.sample(_RECORDED, self.seed)
        self.folder.mkdir(exist_ok=True)
        with TableWriter(self.folder / f"{step:09d}.parquet") as writer:
            writer.write(self.examples.preprocess.schema.decode(rows))


def chosen_for(recipe: Recipe, schema: Schema, n_rows: int) -> Recipe:
    """Return the recipe with the open options and the number of epochs (about 8,000 steps) chosen.

    Args:
        recipe: `GanOptions` and training.
        schema: the table's columns.
        n_rows: training rows.
    """
    levels = [len(schema.columns[j].levels) for j in schema.categorical]
    n_columns = len(schema.continuous) + len(levels)
    options = recipe.options.chosen_for(n_columns, len(schema.continuous) + sum(levels), n_rows)
    training = recipe.training
    if training.epochs is None:
        per_epoch = steps_per_epoch(n_rows, training.optimisation.batch_size)
        training = replace(training, epochs=-(-_STEPS // per_epoch))
    return Recipe(options, training)


def _first(stacked: Any) -> Any:
    return jax.tree.map(lambda a: a[0] if eqx.is_array(a) else a, stacked)


class GanFamily(Family):
    """GANs: both players, with the map between rows and examples."""

    @property
    def takes_missing(self) -> bool:
        """No: a discriminator sees whole rows."""
        return False

    def recipe(self, settings: dict[str, Any]) -> Recipe:
        """Return the recipe of a GAN."""
        return Recipe.from_settings(settings, default_recipe())

    def columns(self, schema: Schema, recipe: Recipe) -> Schema:
        """Return the table's columns as they are."""
        return schema

    def chosen_for(self, recipe: Recipe, schema: Schema, n_rows: int) -> Recipe:
        """Return the recipe with the open options and the number of epochs chosen."""
        return chosen_for(recipe, schema, n_rows)

    def adaptations(self, recipe: Recipe, n_rows: int) -> list[str]:
        """Return what becomes of a batch larger than the data, and of packs that do not fill it."""
        asked, packing = recipe.training.optimisation.batch_size, recipe.options.packing
        size = min(asked, n_rows)
        said = []
        if asked > n_rows:
            said.append(
                f"batch_size is {asked}: every step takes all of the {n_rows} training rows"
            )
        if size % packing:
            said.append(
                f"packing is {packing}: the last pack of the {size} rows of a step is completed "
                "with the first of them"
            )
        return said

    def check(self, schema: Schema, matrix: np.ndarray, recipe: Recipe, split: Split) -> None:
        """Accept the table: a GAN takes any table that can be read."""

    def fit(
        self,
        schema: Schema,
        matrix: np.ndarray,
        recipe: Recipe,
        *,
        seed: int,
        split: Split,
        checkpoints: Checkpoints | None = None,
        report: Report = silent,
    ) -> tuple[TableGAN, Result]:
        """Return the trained pair."""
        return fit_gan(
            schema, matrix, recipe, seed=seed, split=split, checkpoints=checkpoints, report=report
        )

    def arrays(self, model: TableGAN) -> Arrays:
        """Return the weights of both players, the preprocessing and the map to examples."""
        return {
            **arrays_of("discriminator", model.discriminator),
            **arrays_of("generator", model.generator),
            **preprocess_arrays(model.preprocess),
            **{f"examples.{name}": getattr(model.examples, name) for name in _EXAMPLES},
        }

    def load(self, arrays: Arrays, schema: Schema, recipe: Recipe) -> TableGAN:
        """Return the trained pair."""
        found = {name: arrays[f"examples.{name}"] for name in _EXAMPLES}
        examples = Examples(preprocess_of(arrays, schema), **found)
        init = gan_init(recipe, examples, np.zeros(sum(examples.levels)))
        skeletons = eqx.filter_eval_shape(init, jax.random.key(0))
        return TableGAN(
            filled("discriminator", skeletons[0], arrays),
            filled("generator", skeletons[1], arrays),
            examples,
            recipe.options,
        )

    def figures(
        self, model: TableGAN, matrix: np.ndarray, split: Split, seed: int
    ) -> dict[str, Any]:
        """Return how well held-out rows and samples are told apart; see `gan_figures`."""
        return gan_figures(model, matrix, split, seed)
