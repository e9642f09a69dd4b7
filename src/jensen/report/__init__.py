"""Reports: figures of a trained model, and the one page that holds them.

Drawing lives here and nowhere else. Figures take arrays, so that any model can be reported on;
`Report` collects the content and `write_report` makes one self-contained HTML file of it.
"""

from jensen.report.canvas import save, to_data_uri
from jensen.report.columns import marginals, pairs
from jensen.report.content import Report
from jensen.report.detection import roc, score_histogram
from jensen.report.html import render, write_report
from jensen.report.plots import learning_curves, likelihood_bars, pit_histogram

__all__ = [
    "Report",
    "learning_curves",
    "likelihood_bars",
    "marginals",
    "pairs",
    "pit_histogram",
    "render",
    "roc",
    "save",
    "score_histogram",
    "to_data_uri",
    "write_report",
]
