import pytest

from jepabench.pipeline.presets.expansion import expand_values, split_names
from jepabench.pipeline.presets.search_path import ConfigError
from jepabench.pipeline.presets.variants import Variant
from jepabench.pipeline.run_config import compose_run
from jepabench.pipeline.stages import SuitePlan


def make_plan(tmp_path, *overrides: str) -> SuitePlan:
    return SuitePlan(compose_run(["suite=smoke", f"output={tmp_path}", *overrides]))


def list_rows(plan: SuitePlan) -> list[str]:
    return [stage.config["agent"]["name"] for stage in plan.evaluations]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("64", ["64"]),
        ("64,128", ["64", "128"]),
        ("choice(a, b)", ["a", "b"]),
        ("range(0, 6, 2)", ["0", "2", "4"]),
        ("[64,64],[32]", ["[64,64]", "[32]"]),
        ("1e-3,1e-3", ["0.001"]),
    ],
)
def test_values_expand_as_in_hydra(text, values):
    assert expand_values("key", text) == values


def test_names_are_split_outside_brackets():
    assert split_names("a+k=[1,2],b") == ["a+k=[1,2]", "b"]


def test_a_name_contains_all_settings_of_a_variant():
    name = "jepa-cem+planner.num_samples=64+train.net_arch=[64,64]+data.num_steps=3+pixels=32"
    variant = Variant.parse(name)
    assert str(variant) == name and variant.base == "jepa-cem"
    assert variant.changes.preset == {
        "agent": {"planner": {"num_samples": 64}},
        "train": {"net_arch": [64, 64]},
    }
    assert variant.changes.data == {"num_steps": 3} and variant.changes.pixels == 32
    assert Variant.parse("sb3:a+b/c.zip").settings == ()


def test_a_label_is_a_safe_and_unique_name_of_a_folder():
    one, two = (Variant.parse(f"a+path=/x{end}").suffix for end in ("/y", "-y"))
    assert "/" not in one + two and one != two
    long = Variant.parse("a+text=" + "x" * 500).suffix
    assert len(long) < 150 and long != Variant.parse("a+text=" + "x" * 501).suffix
    assert Variant.parse("a").suffix == ""


def test_every_combination_is_one_row_with_a_folder_of_its_own(tmp_path):
    plan = make_plan(
        tmp_path,
        "agent=jepa-cem,random",
        "agent.jepa-cem.planner.num_samples=64,128",
        "agent.jepa-cem.execute_steps=1,2",
        "seed=0,1",
    )
    rows = list_rows(plan)
    assert len(rows) == 2 * 2 * 2 + 1 and len(set(rows)) == 5
    assert "jepa-cem+planner.num_samples=64+execute_steps=2" in rows
    folders = [stage.directory for stage in plan.evaluations]
    assert len(set(folders)) == len(rows)
    models = [key for key in plan.stages if key.startswith("model/")]
    assert len(models) == 2  # one per seed serves all variants


def test_variants_leave_the_stages_of_other_agents_as_they_are(tmp_path):
    agents = "agent=jepa-cem,gcbc,random"
    plain = make_plan(tmp_path, agents).stages
    changed = make_plan(tmp_path, agents, "agent.gcbc.train.num_steps=10,20").stages
    for key in plain:
        if "gcbc" not in key:
            assert changed[key].config == plain[key].config
            assert changed[key].directory == plain[key].directory


def test_a_variant_of_training_or_data_trains_a_policy_and_a_model_of_its_own(tmp_path):
    plan = make_plan(tmp_path, "agent=jepa-cem,gcbc,random", "suite.data.num_episodes=10,20")
    assert sorted(set(list_rows(plan))) == [
        "gcbc+data.num_episodes=10",
        "gcbc+data.num_episodes=20",
        "jepa-cem+data.num_episodes=10",
        "jepa-cem+data.num_episodes=20",
        "random",
    ]
    for kind, count in (("model", 2), ("policy", 2), ("data", 3)):
        folders = {
            stage.directory for key, stage in plan.stages.items() if key.startswith(f"{kind}/")
        }
        assert len(folders) == count
    for stage in plan.evaluations:
        if "+" in stage.config["agent"]["name"]:
            needed = plan.stages[stage.needs[0]].config
            asked = int(stage.config["agent"]["name"].rpartition("=")[2])
            trained_on = needed.get("data", needed.get("dataset"))
            assert trained_on["num_episodes"] == asked


def test_a_world_model_of_several_agents_is_changed_for_all_of_them(tmp_path):
    plan = make_plan(
        tmp_path, "agent=jepa-cem,jepa-gradient", "world_model.jepa.training.num_steps=3,4"
    )
    assert len(list_rows(plan)) == 4
    assert len([key for key in plan.stages if key.startswith("model/")]) == 2


def test_a_variant_can_be_named_by_other_commands(tmp_path):
    swept = make_plan(tmp_path, "agent=jepa-cem", "agent.planner.num_samples=64,128")
    named = make_plan(
        tmp_path, "agent=jepa-cem+planner.num_samples=64,jepa-cem+planner.num_samples=128"
    )
    assert {key: stage.config for key, stage in swept.stages.items()} == {
        key: stage.config for key, stage in named.stages.items()
    }


def test_budgets_and_trials_change_variants_too(tmp_path):
    name = "gcbc+train.learning_rate=0.01"
    config = compose_run(["suite=smoke", f"output={tmp_path}", f"agent={name}"])
    overrides = config.suite.overrides.with_changes("agent", name, {"train": {"num_steps": 7}})
    plan = SuitePlan(config.with_suite(overrides=overrides))
    (policy,) = [stage for key, stage in plan.stages.items() if key.startswith("policy/")]
    assert policy.config["train"]["num_steps"] == 7
    assert policy.config["train"]["learning_rate"] == 0.01


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ("agent=jepa-cem agent.planner.num_sample=64,128", "Did you mean 'num_samples'"),
        ("agent=jepa-cem agent.planer.num_samples=64", "Did you mean 'planner'"),
        ("agent=jepa-cem agent.planner.num_elites=999", "num_elites must be at most num_samples"),
        ("agent=jepa-cem agent.planner.horizon.x=1", "has no nested settings"),
        ("agent=jepa-cem,random agent.jepa-cm.planner.horizon=2", "Did you mean 'jepa-cem'"),
        ("agent=jepa-cem agent.planner.num_samples=range(1,5000)", "more than 1000 variants"),
        ("agent=jepa-cem agent.planner.num_samples=choice(64", "is malformed"),
        ("agent=jepa-cem agent.planner.num_samples=", "has no value"),
        ("agent=jepa-cem agent.world_model=jepaa,jepa", "Did you mean 'jepa'"),
        ("agent=jepa-cem world_model.jepa.training.num_stps=3", "Did you mean 'num_steps'"),
        ("agent=jepa-cem world_model.jepa.model.latent=3", "latent"),
        ("agent=jepa-cem world_model.jepa.model.history=0", "model: history"),
        ("agent=jepa-cem world_model.jepa.model.terms.sigreg=1", "'sigreg' has no weight"),
        ("agent=jepa-cem world_model.jepa.model.terms.sigreg.weight=x", "must be a number"),
        (
            "agent=jepa-cem world_model.jepa.model.terms.sigreg.num_knot=9",
            "Did you mean 'num_knots'",
        ),
        (
            "agent=jepa world_model.jepa-endpoint.model.terms.endpoint_inverse.raise_weight=1",
            "Did you mean 'raised_weight'",
        ),
        (
            "agent=jepa world_model.jepa-endpoint.model.terms.action_recovry.weight=1",
            "Did you mean",
        ),
        ("agent=jepa-cem world_model.japa.model.latent_dim=3", "Did you mean 'jepa'"),
        ("agent=jepa-cem data.num_episode=3", "Did you mean 'num_episodes'"),
        ("agent=jepa-cem data.num_episodes=0,1", "at least 1"),
        ("agent=jepa-cem pixels=8,64", "from 16 to 1024"),
        ("agent=random pixels=32,64", "changes no agent"),
        ("agent=random agent.train.num_steps=3", "is not trained"),
        ("agent=jepa agent.train.raduis=1", "Did you mean 'radius'"),
        ("agent=jepa agent.train.radius=0", "radius must be above 0"),
        ("agent=jepa agent.train.proposal.num_step=3", "Did you mean 'num_steps'"),
        ("agent=jepa-reactive agent.train.num_steps=0", "num_steps must be at least 1"),
        ("agent=sac-her agent.train.batch_size=-1", "batch_size must be at least 1"),
        ("agent=jepa-cem-hard agent.train.hazrd=given", "Did you mean 'hazard'"),
        ("agent=random agent.world_model=jepa", "has no world model"),
        ("suite=quick,smoke", "takes one value"),
        ("num_workers=1,2", "takes one value"),
        ("agent=jepa-cem,,random", "empty name"),
    ],
)
def test_a_wrong_sweep_is_refused_before_any_work(overrides, message, tmp_path):
    with pytest.raises((ConfigError, KeyError, ValueError), match=message) as caught:
        make_plan(tmp_path, *overrides.split())
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())
