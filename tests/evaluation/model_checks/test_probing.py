import numpy as np
import pytest

from jepabench.envs import list_tasks, make
from jepabench.envs.data.episodes import EpisodeDataset
from jepabench.evaluation.model_checks.probing import ProbingError, probe_table
from jepabench.evaluation.model_checks.quantities import observation_names
from jepabench.main import main


def test_probes_read_the_state_better_than_imagined_latents(state_twin, episodes):
    table = probe_table(state_twin, episodes[1], steps=(1, 4)).set_index(
        ["probe", "step", "quantity"]
    )
    for quantity in ("ball x", "ball y"):
        r2 = [table.loc[("linear", step, quantity), "r2"] for step in (0, 1, 4)]
        assert r2[0] > 0.99999 > r2[1] > r2[2] > 0.3
    assert np.isnan(table.loc[("linear", 0, "wall x"), "r2"])  # it never moves


def test_an_untrained_encoder_scores_lower(state_twin, pixel_model, episodes):
    untrained = probe_table(pixel_model, episodes[1], steps=())
    knows = untrained[(untrained["probe"] == "linear") & (untrained["quantity"] == "ball x")]
    assert len(knows) == 1 and knows["r2"].item() < 0.99


def test_data_that_does_not_fit_is_refused(state_twin, pixel_model, episodes, tmp_path):
    from jepabench.envs.data.collect import collect

    other = collect(
        "jepabench/PointMaze-UMaze-v1",
        tmp_path / "maze",
        num_episodes=4,
        num_steps=3,
        num_workers=1,
        pixels=None,
        progress=False,
    )
    with pytest.raises(ProbingError, match="of the same task"):
        probe_table(state_twin, other)
    blind = collect(
        "jepabench/TwoRoom-v1",
        tmp_path / "blind",
        num_episodes=4,
        num_steps=3,
        num_workers=1,
        pixels=None,
        progress=False,
    )
    with pytest.raises(ProbingError, match="--pixels"):
        probe_table(pixel_model, blind)
    with pytest.raises(ValueError, match="longest has 3"):
        probe_table(state_twin, EpisodeDataset.open(blind.path), steps=(9,))


@pytest.mark.parametrize(
    "task_id", [spec.id for spec in list_tasks() if spec.id.startswith("jepabench/")]
)
def test_every_world_of_the_suite_names_its_quantities(task_id):
    names = observation_names(task_id)
    assert len(set(names)) == len(names) == make(task_id).observation_space["observation"].shape[0]
    assert not any(name.startswith("observation ") for name in names)


def test_the_command_writes_what_it_prints(state_twin, pixel_model, episodes, tmp_path, capsys):
    folder = tmp_path / "out"
    assert main(["probe", "no-such-checkpoint", str(episodes[1].path)]) == 2
    assert "no-such-checkpoint" in capsys.readouterr().err
    command = [
        "probe",
        str(pixel_model_folder(pixel_model)),
        str(episodes[1].path),
        "--steps",
        "2",
        "--frames",
        "200",
    ]
    assert main([*command, "--output", str(folder)]) == 0
    assert "ball x" in capsys.readouterr().out
    lines = (folder / "probe.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "quantity,probe,step,r2,r,frames" and len(lines) == 1 + 2 * 2 * 4
    assert (folder / "probe.json").exists()


def pixel_model_folder(model):
    return model.metadata["folder"]
