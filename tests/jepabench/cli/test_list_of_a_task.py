import pytest

from jepabench import envs
from jepabench.envs.variations.events import list_events
from jepabench.main import main

TASK = "jepabench/TwoRoom-v1"


def test_variations_are_listed_with_their_levels(capsys):
    assert main(["list", "variations", TASK]) == 0
    text = capsys.readouterr().out
    for factor in envs.make(TASK).variations.factors:
        assert factor.name in text
    assert "mild 0.8 ... 1.15; hard 0.4 ... 1.3; allowed 0.1 ... 2; dim; bright" in " ".join(
        text.split()
    )
    assert "[m]" in text


def test_events_are_listed_with_their_kind(capsys):
    assert main(["list", "events", TASK]) == 0
    lines = capsys.readouterr().out.splitlines()
    for event in list_events(TASK):
        (line,) = [line for line in lines if line.split()[:1] == [event.name]]
        assert ("harmless" in line) == event.harmless and ("impossible" in line) != event.harmless


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["variations"], "needs the name of a task"),
        (["events"], "needs the name of a task"),
        (["tasks", TASK], "takes no further argument"),
        (["variations", "jepabench/TwoRom-v1"], "Did you mean 'jepabench/TwoRoom-v1'"),
    ],
)
def test_a_mistake_prints_one_sentence(arguments, message, capsys):
    assert main(["list", *arguments]) == 2
    assert message in capsys.readouterr().err
