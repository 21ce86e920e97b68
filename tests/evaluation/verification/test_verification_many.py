"""Test that one forged flag among thousands of episodes is found."""

import numpy as np
import pytest
from tiny_submission import ABOUT, ROOM, Seeker, change_rows

from jepabench.evaluation.protocol import Suite, SuiteTask
from jepabench.evaluation.rollout import evaluate_episodes
from jepabench.evaluation.submissions.submission import write_submission
from jepabench.evaluation.verification.levels import verify

SUITE = Suite(
    name="many",
    version=1,
    tasks=(SuiteTask(task_id=ROOM, strata=("medium",), num_episodes=2000),),
    agents=("seeker",),
    training_seeds=(0,),
)


@pytest.mark.slow
def test_one_flipped_flag_among_2000_episodes_is_found(tmp_path):
    evaluation = evaluate_episodes(
        Seeker(gain=2.0), SUITE.specs(ROOM), agent_name="seeker", batch_size=50
    )
    about = ABOUT | {
        "name": "many",
        "training_seeds": [0],
        "costs": ABOUT["costs"][:1],
        "agent": ABOUT["agent"] | {"learns": True},
    }
    actions = {(ROOM, 0): np.concatenate(list(evaluation.actions.values()))}
    write_submission(
        tmp_path / "many", about, suite=SUITE, records=evaluation.records, actions=actions
    )
    true = verify(tmp_path / "many", lambda _: SUITE)
    assert (true.reason, true.episodes) == ("", 2000)

    held = np.array([record.success_held for record in evaluation.records])
    assert 0 < held.sum() < 2000
    lost = int(np.flatnonzero(~held)[held.argmax() % (~held).sum()])

    def flip(rows):
        rows.loc[lost, ["success_ever", "success_held", "strict_held"]] = True
        rows.loc[lost, "first_success_step"] = max(1, rows.loc[lost, "first_success_step"])

    change_rows(tmp_path / "many", flip)
    forged = verify(tmp_path / "many", lambda _: SUITE)
    assert forged.badges == ("valid",)
    assert forged.reason.startswith("1 of 2000 episodes")
    assert (
        f"|medium|{evaluation.records[lost].index} " in forged.reason
        and "success_held is False" in forged.reason
    )
