"""Test ``jepabench evaluate checkpoint=FOLDER`` with a policy trained on the world model."""

from jepabench.agents.mpc import distance_and_proposals
from jepabench.envs.data.collect import collect
from jepabench.main import main
from jepabench.pipeline.saved_model import agent_preset

TWO_ROOM = "jepabench/TwoRoom-v1"


def test_a_policy_beside_its_world_model_is_found(save_twin, tmp_path, capsys):
    model, data = save_twin(tmp_path / "model"), tmp_path / "data"
    arguments = [
        "evaluate",
        f"checkpoint={model}",
        "agent=jepa-contacts",
        "strata=near",
        "episodes=2",
        "pixels=16",
    ]
    assert agent_preset(model, None).name == "state-cem"
    assert main(arguments) == 2
    assert "needs more than a world model" in capsys.readouterr().err
    collect(
        TWO_ROOM, data, num_episodes=6, num_steps=12, pixels=None, num_workers=1, progress=False
    )
    distance_and_proposals.train(
        task_id=TWO_ROOM,
        dataset=data,
        world_model=model,
        directory=model / "jepa-contacts",
        seed=0,
        progress=False,
        kind="mahalanobis",
        proposal={"num_steps": 5, "history": 1},
    )
    assert main(arguments) == 0
    assert "near" in capsys.readouterr().out
    assert agent_preset(model, None).name == "jepa-contacts"
