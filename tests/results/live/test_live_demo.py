"""Test the demo: placing goals, tracing a search, its server, and the page in Chromium."""

import json
import urllib.error
import urllib.request

import numpy as np
import pytest
import torch
from live_chromium import open_page

from jepabench.agents.planners.icem import ICEMPlanner
from jepabench.envs.errors import UnknownNameError
from jepabench.envs.registry import make
from jepabench.pipeline.checkpoints import find_checkpoint
from jepabench.results.live.demo import Demo
from jepabench.results.live.goal_placement import GoalPlacement, GoalPlacementError
from jepabench.results.live.planning_session import REACTIVE, PlanningSession
from jepabench.results.live.server import Channel, LiveServer
from jepabench.results.live.traced_planner import TracedPlanner


@pytest.fixture(scope="module")
def session():
    return PlanningSession(find_checkpoint("two-room"))


@pytest.mark.parametrize("task", ["TwoRoom-v1", "PointMaze-UMaze-v1", "PushT-v1"])
def test_moved_goal_is_at_the_requested_position(task):
    env = make(f"jepabench/{task}", pixels=64)
    env.reset(seed=3, options={"split": "validation"})
    placement = GoalPlacement(env)
    before = env.snapshot()
    position = placement.position()
    place = placement.to_frame(placement.object.sample(np.random.default_rng(0))[0])
    observation = placement.move_goal(place)
    assert placement.goal() == pytest.approx(place, abs=1e-3)
    assert placement.position() == pytest.approx(position)
    assert (env.snapshot().physics == before.physics).all()
    assert not np.array_equal(observation["goal_pixels"], observation["pixels"])


def test_the_frame_shows_the_object_where_the_placement_says_it_is():
    env = make("jepabench/TwoRoom-v1", pixels=64)
    placement = GoalPlacement(env)
    env.reset(seed=0)
    frames, places = [], []
    for position in ((-0.5, 0.5), (0.5, -0.5)):
        motion = placement.object.get_motion().copy()
        motion[:2] = np.array(position) * placement.object.extent / 2
        placement.object.set_motion(motion)
        frames.append(env.restore(env.snapshot())["pixels"].astype(float))
        places.append(placement.position())
    change = np.abs(frames[0] - frames[1]).sum(-1)
    for x, y in places:
        column, row = int(64 * x), int(64 * y)
        assert change[row - 1 : row + 2, column - 1 : column + 2].max() > 100


def test_a_goal_in_a_wall_or_outside_is_refused_and_nothing_changes(session):
    goal = session.placement.goal()
    for place in ([0.5, 0.02], [0.0, 0.5], [1.5, 0.5], [float("nan"), 0.5]):
        with pytest.raises(GoalPlacementError):
            session.move_goal(place)
    assert session.placement.goal() == pytest.approx(goal)


def test_a_world_without_a_goal_that_can_be_moved_is_refused():
    with pytest.raises(GoalPlacementError, match="not jepabench/Reach-v1"):
        GoalPlacement(make("jepabench/Reach-v1", pixels=64))


def test_a_traced_search_returns_the_same_plan(session):
    session.restart()
    messages = [session.step() for _ in range(2)]
    plain = TracedPlanner(ICEMPlanner())
    assert plain.horizon == ICEMPlanner().horizon and plain.num_kept == ICEMPlanner().num_kept
    thought = messages[0]["thought"]
    assert thought["best"] == sorted(thought["best"], reverse=True)
    assert len(thought["rounds"]) == ICEMPlanner().num_iterations
    assert np.shape(thought["path"]) == (ICEMPlanner().horizon, 2)
    assert all(0 < np.shape(one["paths"])[0] <= 40 for one in thought["rounds"])
    assert messages[1]["thought"] is None, "one plan per action block"
    cost = _Recorded(session)
    arguments = {"bounds": cost.bounds, "initial": None}
    generators = [torch.Generator().manual_seed(0) for _ in range(2)]
    first = ICEMPlanner().plan(cost.cost, **arguments, generators=generators[:1])
    second = plain.plan(cost.cost, **arguments, generators=generators[1:])
    assert torch.equal(first.actions, second.actions) and torch.equal(first.cost, second.cost)
    with pytest.raises(TypeError, match="needs a LatentCost"):
        plain.plan(lambda actions: actions.sum((2, 3)), **arguments, generators=generators[:1])


class _Recorded:
    """The cost and bounds of one search of a session."""

    def __init__(self, session):
        found = self

        class Spy(TracedPlanner):
            def plan(self, cost, *, bounds, initial=None, generators):
                found.cost, found.bounds = cost, bounds
                return super().plan(cost, bounds=bounds, initial=initial, generators=generators)

        session.restart()
        session.agent._control.planner = session._planner = Spy(session._planner.planner)
        session.step()
        session.restart()


def test_imagined_paths_end_near_the_goal_when_the_agent_is_there(session):
    session.restart()
    for _ in range(60):
        message = session.step()
        if message["thought"] and message["success"]:
            break
    else:
        pytest.fail("the agent did not reach the goal in 60 control steps")
    assert message["thought"]["path"][-1] == pytest.approx(message["goal"], abs=0.08)


def test_valid_settings_change_the_search_and_invalid_ones_do_not(session):
    session.change({"planner": "CEM", "budget": 0.5})
    assert session.step()["thought"]["rounds"][0]["candidates"] == 64
    session.change({"planner": "gradient", "cost": "L1, whole path"})
    assert session.step()["thought"]["rounds"][0]["candidates"] == 4
    before = session.settings
    for change in ({"planner": "ICEM"}, {"budget": 3}, {"cost": "L3"}, {"model": "x"}):
        with pytest.raises(UnknownNameError):
            session.change({"budget": 1.0, **change})
    assert session.settings == before and REACTIVE not in session.planners
    session.change({"planner": "iCEM", "budget": 1.0, "cost": "L2, whole path"})


@pytest.mark.slow
def test_push_t_has_a_reactive_planner_that_scores_only_proposals():
    session = PlanningSession(find_checkpoint("push-t"))
    session.change({"planner": REACTIVE})
    thought = session.step()["thought"]
    assert len(thought["rounds"]) == 1 and session.agent.proposal is not None


@pytest.fixture
def server():
    received = []

    def command(content):
        if "wrong" in content:
            raise UnknownNameError("Unknown command 'wrong'.")
        received.append(content)

    channel = Channel()
    server = LiveServer("demo", channel, command)
    yield server, channel, received
    server.close()


def ask(url, *, body=None, **headers):
    request = urllib.request.Request(url, data=body, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as reply:
            return reply.status, reply.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def test_the_server_answers_its_own_page_only(server):
    live, _, received = server
    kind = {"Content-Type": "application/json"}
    assert ask(live.url)[0] == 200 and ask(f"{live.url}demo.js")[0] == 200
    assert ask(f"{live.url}../demo.py")[0] == 404
    assert ask(live.url, Host="example.org")[0] == 403
    assert ask(f"{live.url}command", body=b'{"goal": [0, 1]}', **kind)[0] == 200
    for headers in ({"Content-Type": "text/plain"}, {**kind, "Origin": "http://example.org"}):
        assert ask(f"{live.url}command", body=b"{}", **headers)[0] == 403
    assert ask(f"{live.url}command", body=b'{"wrong": 1}', **kind) == (
        400,
        b"Unknown command 'wrong'.",
    )
    assert ask(f"{live.url}command", body=b"[]", **kind)[0] == 400
    assert ask(f"{live.url}command", body=b"{" * 20_000, **kind)[0] == 413
    assert received == [{"goal": [0, 1]}]


def test_a_new_page_receives_the_last_message_of_each_type(server):
    live, channel, _ = server
    for number in range(20):
        channel.publish({"type": "step", "number": number})
    channel.publish({"type": "settings"})
    with urllib.request.urlopen(f"{live.url}events", timeout=10) as stream:
        lines = [stream.readline().decode() for _ in range(3)]
    found = [json.loads(line.removeprefix("data: ")) for line in lines if line.strip()]
    assert found == [{"type": "step", "number": 19}, {"type": "settings"}]


def test_wrong_commands_are_refused(monkeypatch):
    monkeypatch.setattr(Demo, "__init__", lambda self: None)
    demo = Demo()
    demo._checkpoints = {"two-room": None}
    for content, message in (
        ({"fly": 1}, "Unknown command 'fly'"),
        ({"checkpoint": "nowhere"}, "Unknown checkpoint"),
        ({"rate": 7}, "Unknown rate"),
        ({"goal": [0.5]}, "two numbers"),
        ({"goal": [0.5, "x"]}, "two numbers"),
        ({"goal": [0.5, 2]}, "two numbers"),
    ):
        with pytest.raises((UnknownNameError, ValueError), match=message):
            demo.command(content)


@pytest.mark.slow
def test_a_reader_drags_the_goal_and_the_agent_reaches_it():
    channel = Channel()
    demo = Demo({"two-room": find_checkpoint("two-room")}, "two-room", channel, rate=0.0)
    server = LiveServer("demo", channel, demo.command)
    try:
        with open_page(server.url, viewport={"width": 1200, "height": 900}) as page:
            world = page.locator("#world")
            page.wait_for_function("document.getElementById('step').textContent !== '-'")
            box = world.bounding_box()
            start, end = (
                (box["x"] + x * box["width"], box["y"] + y * box["height"])
                for x, y in ((0.7, 0.7), (0.25, 0.75))
            )
            page.mouse.move(*start)
            page.mouse.down()
            page.mouse.move(*end, steps=4)
            page.mouse.up()
            page.wait_for_function("state.goal && Math.abs(state.goal[0] - 0.25) < 0.01")
            page.wait_for_function(
                "document.body.dataset.held === 'true' && "
                "Math.hypot(state.position[0] - 0.25, state.position[1] - 0.75) < 0.1",
                timeout=120_000,
            )
            assert page.locator("#status").inner_text() == "The goal is reached and held."
            assert page.locator("#imagined img").count() == 5
            page.get_by_label("planner").select_option("gradient")
            page.get_by_label("budget").select_option("0.5")
            page.wait_for_function("state.thought.rounds[0].candidates === 4", timeout=60_000)
            page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.1 * box["height"])
            page.mouse.down()
            page.mouse.up()
            page.wait_for_function("document.getElementById('status').className === 'error'")
            page.wait_for_timeout(500)  # several steps
            assert "wall" in page.locator("#status").inner_text()
            page.get_by_role("button", name="Pause").click()
            page.get_by_role("button", name="Continue").wait_for()
            goal = page.evaluate("state.goal")
            world.focus()
            page.keyboard.press("ArrowUp")
            page.wait_for_function(f"state.goal[1] < {goal[1]} - 0.03")
            page.keyboard.press("Space")
            page.get_by_role("button", name="Pause").wait_for()
    finally:
        demo.close()
        server.close()
