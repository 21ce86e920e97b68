import json
import sys

import pytest

from jepabench.envs import registry
from jepabench.execution.run_plan import make_plan
from jepabench.main import main
from jepabench.pipeline.config import load_preset
from jepabench.pipeline.presets import plugins, search_path
from jepabench.pipeline.presets.search_path import make_search_path, set_search_path
from jepabench.pipeline.run_config import compose_run
from jepabench.pipeline.stages import SuitePlan

TINY = """
defaults: [jepa-cem, _self_]
name: {name}
agent: {{planner: {{num_samples: 16}}}}
"""


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    yield
    set_search_path(None)
    search_path._find_package_folders.cache_clear()
    plugins._digest_code.cache_clear()


def write_preset(folder, name: str, text: str = TINY, group: str = "agent") -> None:
    (folder / group).mkdir(parents=True, exist_ok=True)
    (folder / group / f"{name}.yaml").write_text(text.format(name=name), encoding="utf-8")


def test_presets_of_the_working_directory_and_of_config_dirs_extend_those_of_the_package(
    tmp_path, capsys
):
    write_preset(tmp_path / "conf", "tiny")
    odd = tmp_path / "a b, [c] 'd' é"
    write_preset(odd, "tinier", "defaults: [tiny, _self_]\nname: tinier\n")
    write_preset(odd, "own", "defaults: [smoke, _self_]\nname: own\nagents: [tinier]\n", "suite")
    assert main(["list", "agents", "--json", "--config-dir", str(odd)]) == 0
    rows = {row["agent"]: row["from"] for row in json.loads(capsys.readouterr().out)}
    assert rows["jepa-cem"] == "jepabench"
    assert rows["tiny"] == "conf/agent/tiny.yaml"
    assert rows["tinier"].endswith("é/agent/tinier.yaml")
    assert main(["run", "suite=own", "--show", "--config-dir", str(odd)]) == 0
    shown = capsys.readouterr().out
    assert "num_samples: 16" in shown and "num_elites: 16" in shown


def test_a_worker_in_another_folder_finds_the_presets_of_the_command(tmp_path, monkeypatch):
    write_preset(tmp_path / "conf", "tiny")
    path = make_search_path([])
    config = compose_run(["suite=smoke", "agent=tiny"])
    here = SuitePlan(config).stages
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    with pytest.raises(KeyError, match="tiny"):
        SuitePlan(config)
    there = make_plan(SuitePlan, config, path).stages
    assert {key: stage.config for key, stage in there.items()} == {
        key: stage.config for key, stage in here.items()
    }


def test_own_presets_do_not_change_the_stages_of_other_presets(tmp_path):
    def plan():
        return SuitePlan(compose_run(["suite=quick"])).stages

    before = {key: stage.config for key, stage in plan().items()}
    write_preset(tmp_path / "conf", "tiny")
    assert {key: stage.config for key, stage in plan().items()} == before


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("jepa-cem", TINY, "has the name of the preset"),
        ("mine", TINY.replace("{name}", "other"), "Write `name: mine`"),
        ("mine", "name: mine\n", "lacks track, agent"),
        ("mine", "defaults: [nothing, _self_]\nname: mine\n", "cannot be composed"),
        ("mine", "name: [\n", "cannot be composed"),
    ],
)
def test_a_wrong_preset_prints_one_sentence(name, text, message, tmp_path, capsys):
    write_preset(tmp_path / "conf", name, text)
    assert main(["run", "suite=smoke", f"agent={name}"]) == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--config-dir", "nowhere"], "there is no such folder"),
        (["--config-dir", "."], "contains none of the folders"),
    ],
)
def test_a_wrong_source_prints_one_sentence(options, message, capsys):
    assert main(["run", "suite=smoke", *options]) == 2
    assert message in capsys.readouterr().err


def test_verify_ignores_suites_of_the_working_directory(tmp_path, monkeypatch):
    from jepabench.cli.leaderboard import verify
    from jepabench.pipeline.suites import find_suite

    write_preset(tmp_path / "conf", "easy", "defaults: [smoke, _self_]\nname: easy\n", "suite")
    assert find_suite("easy").name == "easy"
    found = []
    monkeypatch.setattr(
        verify, "run", lambda _: found.append(search_path.list_presets("suite")) or 0
    )
    assert main(["verify", "somewhere"]) == 0
    assert "smoke" in found[0] and "easy" not in found[0]


def test_external_code_is_part_of_the_digest_of_a_preset(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    module = tmp_path / "my_planner.py"
    module.write_text("class MyPlanner: ...\n", encoding="utf-8")
    text = TINY.replace("num_samples: 16", "_target_: my_planner.MyPlanner")
    write_preset(tmp_path / "conf", "mine", text)
    first = load_preset("agent", "mine")["code"]
    module.write_text("class MyPlanner:\n    x = 1\n", encoding="utf-8")
    plugins._digest_code.cache_clear()
    assert load_preset("agent", "mine")["code"] != first
    assert "code" not in load_preset("agent", "jepa-cem")
    write_preset(tmp_path / "conf", "lost", text.replace("my_planner", "no_planner"))
    with pytest.raises(ValueError, match="no module 'no_planner'"):
        load_preset("agent", "lost")


def test_an_imported_module_registers_kinds_here_and_in_workers(tmp_path, monkeypatch):
    from jepabench.envs.registry import import_modules
    from jepabench.world_models.registry import list_kinds

    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "my_kind.py").write_text(
        "from jepabench.world_models.kinds.jepa import JEPA\n"
        "from jepabench.world_models.registry import register_kind\n"
        "class MyJEPA(JEPA): ...\n"
        "register_kind('my-jepa', MyJEPA)\n",
        encoding="utf-8",
    )
    write_preset(
        tmp_path / "conf",
        "mine",
        "defaults: [jepa, _self_]\nkind: my-jepa\n",
        "world_model",
    )
    import_modules(["my_kind"])
    assert "my-jepa" in list_kinds()
    assert len(load_preset("world_model", "mine")["code"]) == 64
    assert "code" not in load_preset("world_model", "jepa")


def test_an_installed_package_provides_presets(tmp_path, monkeypatch):
    site = tmp_path / "site"
    write_preset(site / "lab" / "presets", "tiny")
    for package in ("lab", "lab/presets"):
        (site / package / "__init__.py").write_text("", encoding="utf-8")
    info = site / "lab-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: lab\nVersion: 1.2\n", encoding="utf-8"
    )
    (info / "entry_points.txt").write_text(
        "[jepabench.presets]\nlab = lab.presets\n", encoding="utf-8"
    )
    monkeypatch.syspath_prepend(site)
    search_path._find_package_folders.cache_clear()
    assert search_path.describe_origin(search_path.list_presets("agent")["tiny"]) == "lab 1.2"
    assert load_preset("agent", "tiny")["agent"]["planner"]["num_samples"] == 16
    (info / "entry_points.txt").write_text(
        "[jepabench.presets]\nlab = lab.nothing\n", encoding="utf-8"
    )
    search_path._find_package_folders.cache_clear()
    registry._read_entry_points.cache_clear()
    with pytest.raises(search_path.ConfigError, match=r"declares presets in 'lab\.nothing'"):
        search_path.list_presets("agent")
    for name in [name for name in sys.modules if name.partition(".")[0] == "lab"]:
        monkeypatch.delitem(sys.modules, name)
