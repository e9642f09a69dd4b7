r"""All studies in their short form, each in a process of its own, as one table of claims.

A study that ends with an error is named with it and counts as failed; the others run all the same.
Figures are made in a temporary folder and moved when their study is done, so that an interrupted
run leaves whole files or nothing. The page is written last.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from jensen._errors import InputError, JensenError
from jensen.data.output import output_folder, write_text
from jensen.parallel import apart, processors
from jensen.studies.run import STUDIES, run_study

_LONGEST = (
    "swiss-roll-gan",
    "trainable-prior",
    "flow-kl",
    "swiss-roll-vae",
    "amortization-gap",
    "flow-anomaly",
    "dirac-gan",
)
"""These begin first, so that no processor is left with a long one at the end."""


@dataclass(frozen=True)
class Verified:
    """What all studies found.

    Attributes:
        studies: each as `jensen.studies.run.Finished.to_dict`, in the order of `STUDIES`; one that
            ended with an error has `error` as well, and no claims.
        seconds: that all of them took.
    """

    studies: list[dict[str, Any]]
    seconds: float

    @property
    def claims(self) -> int:
        """How many claims were checked."""
        return sum(len(study["claims"]) for study in self.studies)

    @property
    def held(self) -> int:
        """How many of them hold."""
        return sum(claim["holds"] for study in self.studies for claim in study["claims"])

    @property
    def ended(self) -> list[str]:
        """The studies that ended with an error."""
        return [study["study"] for study in self.studies if "error" in study]

    @property
    def holds(self) -> bool:
        """Whether every study came to its end and every claim holds."""
        return not self.ended and self.held == self.claims

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data."""
        return {
            "studies": self.studies,
            "claims": self.claims,
            "held": self.held,
            "seconds": self.seconds,
        }


def verify(
    out: Path,
    *,
    jobs: int | None = None,
    told: Callable[[dict[str, Any]], None] | None = None,
) -> Verified:
    """Run every study in its short form.

    Args:
        out: folder for the page `verify.html`, and in it a folder of figures for each study.
        jobs: studies that run at a time; None for one per processor.
        told: called with each study as it is done.

    Raises:
        InputError: for jobs < 1, or a folder that cannot be used.
    """
    from jensen.report.claims import claims_page

    output_folder(out)
    began = time.monotonic()
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(prefix=".unfinished-", dir=out) as work:
        order = sorted(STUDIES, key=lambda name: (*_LONGEST, name).index(name))
        running = apart(partial(_run, Path(work)), order, processors() if jobs is None else jobs)
        with closing(running) as results:
            for name, result in results:
                found[name] = _settled(name, result, Path(work), out)
                if told is not None:
                    told(found[name])
    verified = Verified([found[name] for name in STUDIES], time.monotonic() - began)
    write_text(out / "verify.html", claims_page(verified.studies, verified.seconds))
    return verified


def _run(work: Path, name: str) -> dict[str, Any]:
    """Run a study in the process that is its own."""
    return run_study(name, work / name, quick=True).to_dict()


def _settled(
    name: str, result: dict[str, Any] | Exception, work: Path, out: Path
) -> dict[str, Any]:
    """Return a study as plain data, its figures moved to their place."""
    if isinstance(result, Exception):
        said = str(result) if isinstance(result, JensenError) else repr(result)
        empty = {"seconds": None, "seed": 0, "quick": True, "data": "", "claims": [], "figures": []}
        return {"study": name, **empty, "error": said}
    output_folder(out / name)
    figures = [out / name / Path(path).name for path in result["figures"]]
    try:
        for figure in figures:
            (work / name / figure.name).replace(figure)
    except OSError as error:
        raise InputError(
            f"cannot write the figures ({error.strerror})", str(out / name), "choose another --out"
        ) from error
    return {**result, "figures": [str(figure) for figure in figures]}
