"""Draw the diagnosis of a world model: foresight, controllability and ranking of plans."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

_COLOURS = {"true": "#4477AA", "zero": "#CCBB44", "random": "#EE6677"}
_SHOWN_STARTS = 6


def diagnosis_figure(
    foresight: pd.DataFrame,
    predicted: NDArray[np.float64],
    real: NDArray[np.float64],
    *,
    title: str,
) -> bytes:
    """Draw prediction errors and the ranking of plans.

    The left panel shows the k-step prediction error for each kind of actions, relative to copying
    the last latent. The right panel shows ranks of the true distance against ranks of the
    predicted cost.

    Args:
        foresight: Table from ``jepabench.evaluation.model_checks.diagnosis.foresight_table``.
        predicted: Predicted costs of S plans from E starts [E, S].
        real: True distances after these plans [E, S].
        title: Title of the figure.

    Returns:
        PNG.
    """
    figure = Figure(figsize=(9, 3.6), layout="constrained", dpi=110)
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    for name, colour in _COLOURS.items():
        left.plot(
            foresight["step"], foresight[name], marker="o", color=colour, label=f"{name} actions"
        )
    left.axhline(1.0, color="#888888", linestyle="--", label="copying the last latent")
    left.set(
        xlabel="model steps ahead",
        ylabel="squared error / copying's",
        yscale="log",
        title="Foresight",
    )
    left.legend(frameon=False, fontsize=8)
    ranks = [
        values.argsort(axis=1).argsort(axis=1) / max(1, values.shape[1] - 1)
        for values in (predicted, real)
    ]
    for start in range(min(_SHOWN_STARTS, len(predicted))):
        right.scatter(ranks[0][start], ranks[1][start], s=9, alpha=0.6)
    right.plot([0, 1], [0, 1], color="#888888", linestyle="--")
    right.set(
        xlabel="rank of predicted cost (low to high)",
        ylabel="rank of true distance after the plan",
        title=f"Predicted and true ranks of plans ({min(_SHOWN_STARTS, len(predicted))} starts)",
    )
    figure.suptitle(title)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
