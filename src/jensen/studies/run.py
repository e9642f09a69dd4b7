r"""The studies by name, and how one is run.

A study is one module with a function `study(notebook)`, whose docstring's first line is its title.
It is loaded when it is asked for.
"""

from __future__ import annotations

import ast
import time
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from jensen._errors import InputError, check_name
from jensen.data.output import output_folder
from jensen.data.split import check_seed
from jensen.studies.notebook import Notebook

STUDIES = {
    "amortization-gap": "jensen.studies.amortization_gap",
    "density-ratio": "jensen.studies.density_ratio",
    "dirac-gan": "jensen.studies.dirac_gan",
    "discriminator-jsd": "jensen.studies.discriminator_jsd",
    "dropout-ridge": "jensen.studies.dropout_ridge",
    "dual-gan": "jensen.studies.dual_gan",
    "flow-anomaly": "jensen.studies.flow_anomaly",
    "flow-kl": "jensen.studies.flow_kl",
    "gan-optimum": "jensen.studies.gan_optimum",
    "iwae-bound": "jensen.studies.iwae_bound",
    "mnist-vae": "jensen.studies.mnist_vae",
    "robust-logistic": "jensen.studies.robust_logistic",
    "rock-paper-scissors": "jensen.studies.rock_paper_scissors",
    "swiss-roll-gan": "jensen.studies.swiss_roll_gan",
    "swiss-roll-vae": "jensen.studies.swiss_roll_vae",
    "trainable-prior": "jensen.studies.trainable_prior",
    "weighted-gan": "jensen.studies.weighted_gan",
}
"""Name → module."""


@dataclass(frozen=True)
class Finished:
    """A study that was run.

    Attributes:
        name: of the study.
        title: in one line.
        seconds: that it took.
        notebook: what it wrote down.
    """

    name: str
    title: str
    seconds: float
    notebook: Notebook

    @property
    def holds(self) -> bool:
        """Whether every claim holds."""
        return all(claim.holds for claim in self.notebook.claims)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data."""
        book = self.notebook
        return {
            "study": self.name,
            "title": self.title,
            "seconds": self.seconds,
            "seed": book.seed,
            "quick": book.quick,
            "data": book.used,
            "claims": [claim.to_dict() for claim in book.claims],
            "figures": [str(path) for path in book.figures],
            "remarks": book.remarks,
        }


def title_of(name: str) -> str:
    """Return the title of a study.

    Example:
        >>> title_of("dirac-gan")
        'The Dirac-GAN: where it rests, and why it turns for ever without a penalty.'
    """
    found = find_spec(STUDIES[_known(name)])
    if found is None or found.origin is None:
        raise InputError(f"the study {name!r} is not installed", "study", "install jensen again")
    tree = ast.parse(Path(found.origin).read_text(encoding="utf-8"))  # without running its imports
    return (ast.get_docstring(tree) or name).splitlines()[0]


def run_study(
    name: str,
    out: Path,
    *,
    quick: bool = False,
    data: Path | None = None,
    seed: int = 0,
    animate: bool = False,
) -> Finished:
    """Run a study: its figures go to `out`, its claims are returned.

    Args:
        name: one of `STUDIES`.
        out: folder for figures; made when missing.
        quick: take the short form.
        data: folder with full-size data, for the studies that use it.
        seed: all randomness of the study.
        animate: save animations too.

    Raises:
        InputError: for an unknown name, a bad seed, or folders that cannot be used.
    """
    module = _module(name)
    check_seed(seed)
    if data is not None and not data.is_dir():
        raise InputError(
            "there is no such data folder", str(data), "give a folder, or leave --data"
        )
    output_folder(out)
    notebook = Notebook(out, quick, seed, data, animate)
    began = time.monotonic()
    module.study(notebook)
    return Finished(name, title_of(name), time.monotonic() - began, notebook)


def _module(name: str) -> Any:
    return import_module(STUDIES[_known(name)])


def _known(name: str) -> str:
    check_name(name, STUDIES, "study", "study")
    return name
