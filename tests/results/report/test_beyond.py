import numpy as np
import pandas as pd
import pytest

from jepabench.results.report.model_tables import changes_table, surprises_table


def records(agent, change, held, task="T"):
    held = np.asarray(held)
    return pd.DataFrame(
        [
            {
                "task_id": task,
                "agent": agent,
                "factor": change[0],
                "level": change[1],
                "stratum": "near",
                "training_seed": seed,
                "index": index,
                "success_held": bool(held[seed, index]),
            }
            for seed in range(held.shape[0])
            for index in range(held.shape[1])
        ]
    )


def test_changes_table_pairs_loss_with_unchanged_world_and_lists_floor():
    frames = [
        records("mine", ("-", "none"), [[1, 1, 1, 0]] * 3),
        records("mine", ("light", "hard"), [[1, 0, 0, 0]] * 3),
        records("random", ("light", "hard"), [[0, 0, 0, 1]]),
    ]
    table = changes_table(pd.concat(frames)).set_index(["agent", "factor"])
    assert table.loc[("mine", "light"), "held"] == 0.25
    assert table.loc[("mine", "light"), "lost"] == pytest.approx(0.5)
    assert (
        table.loc[("mine", "light"), "lost_low"] < 0.5 < table.loc[("mine", "light"), "lost_high"]
    )
    assert table.loc[("mine", "light"), "random"] == 0.25
    assert np.isnan(table.loc[("mine", "-"), "lost"]) and np.isnan(
        table.loc[("random", "light"), "lost"]
    )


def test_surprise_is_a_mean_over_seeds_with_their_range():
    def table(auroc):
        return pd.DataFrame(
            [
                {
                    "event": "teleport",
                    "kind": "impossible",
                    "auroc": auroc,
                    "low": 0.1,
                    "high": 0.99,
                    "untrained": 0.5,
                    "pairs": 10,
                }
            ]
        )

    both = surprises_table(
        {("T", "a", 0): table(0.7), ("T", "a", 1): table(0.9), ("T", "b", 0): table(0.6)}
    )
    first, second = both.to_dict("records")
    assert (first["auroc"], first["low"], first["high"], first["pairs"]) == (
        pytest.approx(0.8),
        0.7,
        0.9,
        20,
    )
    assert (second["low"], second["high"], second["seeds"]) == (0.1, 0.99, 1)
