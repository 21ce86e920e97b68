import mujoco
import numpy as np
import pytest

from jepabench import envs
from jepabench.envs.data.behaviour import make_behaviour
from jepabench.envs.errors import UnknownNameError
from jepabench.envs.splits import episode_specs
from jepabench.envs.variations.factors import Factor, VariationError, Variations

POINT, TWO_ROOM, DIVERSE = (
    "jepabench/PointMaze-UMaze-v1",
    "jepabench/TwoRoom-v1",
    "jepabench/PointMaze-Diverse-v1",
)
MAZES = [task.id for task in envs.list_tasks(family="maze")]
BALL_MASS, FORCE, DT = 4.0 / 3.0 * np.pi * 0.1**3 * 1000, 100.0, 0.01


@pytest.fixture(scope="module")
def point():
    return envs.make(POINT, pixels=96, zones=())


@pytest.fixture(scope="module")
def two_room():
    return envs.make(TWO_ROOM, pixels=96, zones=())


def reset(env, variation=None, seed=0):
    return env.reset(seed=seed, options={"variation": variation})[0]


def put(env, x, y):
    env._set_physics(env.arena.state_at(np.array([x, y])))


def model_arrays(env):
    model = env.simulation.model
    arrays = {name: getattr(model, name) for name in dir(model) if not name.startswith("_")}
    return {name: value.copy() for name, value in arrays.items() if isinstance(value, np.ndarray)}


# -- what is drawn ---------------------------------------------------------------------------------


@pytest.mark.parametrize("task_id", MAZES)
def test_an_episode_keeps_its_start_and_goal_and_budget_under_every_variation(task_id):
    env = envs.make(task_id)
    for spec in episode_specs(task_id, "test", 2):
        plain, info = envs.reset_to(env, spec)
        for variation in ("mild", "hard", {"light": "dim"}):
            varied, varied_info = envs.reset_to(env, spec, variation=variation)
            assert varied_info == info
            for key in ("observation", "desired_goal"):
                assert np.array_equal(varied[key], plain[key])


def test_single_factor_has_same_value_as_with_all_factors(point):
    reset(point, "hard", seed=5)
    together = dict(point.draw.world)
    assert len(together) > 8
    for name, value in together.items():
        reset(point, {name: "hard"}, seed=5)
        assert list(point.draw.world) == [name]
        assert np.array_equal(point.draw.world[name], value)


def test_values_differ_between_episodes_with_and_without_seeds(point):
    seen = []
    for seed in (0, 1, None, None):
        point.reset(seed=seed, options={"variation": "hard"})
        seen.append(point.draw.world["ball_mass"].item())
    assert len(set(seen)) == 4


def test_levels_draw_within_their_ranges_and_fill_them():
    factor = Factor(
        name="size",
        description="",
        default=[1.0, 0.0],
        apply=print,
        allowed=([0, -9], [4, 9]),
        mild=([0.9, -1], [1.1, 1]),
        hard=([0, -9], [4, 9]),
        whole=False,
    )
    rng = np.random.default_rng(0)
    mild, hard = (
        np.stack([factor.draw(level, rng) for _ in range(500)]) for level in ("mild", "hard")
    )
    assert (mild >= [0.9, -1]).all() and (mild <= [1.1, 1]).all()
    assert mild.min(axis=0) == pytest.approx([0.9, -1], abs=0.02) and mild.max(
        axis=0
    ) == pytest.approx([1.1, 1], abs=0.02)
    assert hard.min(axis=0) == pytest.approx([0, -9], abs=0.2) and hard.max(
        axis=0
    ) == pytest.approx([4, 9], abs=0.2)
    assert factor.draw("none", rng) is None


def test_whole_numbers_are_drawn_with_both_ends():
    factor = Factor(
        name="n",
        description="",
        default=0,
        apply=print,
        allowed=(0, 3),
        mild=(1, 2),
        hard=(0, 3),
        whole=True,
    )
    rng = np.random.default_rng(0)
    assert {factor.draw("mild", rng).item() for _ in range(100)} == {1, 2}
    assert {factor.draw("hard", rng).item() for _ in range(100)} == {0, 1, 2, 3}


# -- what factors do -------------------------------------------------------------------------------


def test_a_coloured_ball_is_drawn_in_that_colour(point):
    reset(point, {"ball_colour": [0.2, 0.5, 0.6], "light_direction": [0.0, 0.0]})
    put(point, 0.0, -1.0)
    frame = point._frame(96)
    middle = int(96 * (0.5 + 1.0 / point.arena.extent))
    assert frame[middle, 48] == pytest.approx(np.array([0.2, 0.5, 0.6]) * 255, abs=2)


def test_dim_light_darkens_all_pixels_equally(point):
    bright, dim = reset(point)["pixels"], reset(point, {"light": "dim"})["pixels"]
    assert dim.astype(float) == pytest.approx(0.45 * bright, abs=1.0)


def test_a_camera_that_is_turned_or_moved_sees_the_same_turned_or_moved(point):
    frame = reset(point)["pixels"].astype(float)
    for roll, turns in ((np.pi / 2, 1), (np.pi, 2), (-np.pi / 2, -1)):
        turned = reset(point, {"camera_roll": roll})["pixels"]
        assert np.abs(np.rot90(frame, turns) - turned).mean() < 1.0
    moved = reset(point, {"camera_shift": [0.125, 0.25]})["pixels"]
    assert np.abs(frame[:72, 12:] - moved[24:, :-12]).mean() < 3.0
    smaller = reset(point, {"camera_zoom": 0.5})["pixels"][24:72, 24:72]
    assert np.abs(frame.reshape(48, 2, 48, 2, 3).mean(axis=(1, 3)) - smaller).mean() < 5.0


def test_a_larger_pattern_has_fewer_edges(two_room):
    edges = []
    for side in (0.5, 1.0, 2.0):
        frame = reset(two_room, {"pattern": side, "light_direction": [0.0, 0.0]})["pixels"][
            2:30, 2:30, 0
        ].astype(int)
        edges.append(int((np.diff(frame, axis=0) != 0).sum() + (np.diff(frame, axis=1) != 0).sum()))
    assert edges[0] > edges[1] > edges[2] > 0


@pytest.mark.parametrize(
    ("mass", "damping"), [(1.0, 1.0), (2.5, 1.0), (0.4, 1.0), (1.0, 10.0), (1.0, 0.0)]
)
def test_mass_and_damping_follow_newtons_law(point, mass, damping):
    reset(point, {"ball_mass": mass, "ball_damping": damping})
    put(point, 0.0, -1.0)
    point.step(np.array([1.0, 0.0]))
    velocity = FORCE * DT / (BALL_MASS * mass + damping * DT)  # Euler with implicit damping
    assert point._observation()[2] == pytest.approx(velocity, rel=1e-9)


def test_a_larger_ball_meets_the_wall_earlier_and_looks_larger(two_room):
    reached, seen = [], []
    for size in (0.7, 1.0, 1.25):
        reset(two_room, {"ball_size": size})
        put(two_room, 0.5, 0.5)
        frame = two_room._frame(96).astype(int)
        seen.append(int((frame[..., 0] > frame[..., 1] + 60).sum()))
        for _ in range(30):
            two_room.step(np.array([1.0, 0.0]))
        reached.append(two_room.arena.position[0])
    assert reached == pytest.approx([1 - 0.06 * size for size in (0.7, 1.0, 1.25)], abs=0.006)
    assert seen[0] / seen[1] == pytest.approx(0.7**2, rel=0.15) and seen[2] / seen[
        1
    ] == pytest.approx(1.25**2, rel=0.15)


def test_resized_ball_is_stopped_in_a_corner():
    env = envs.make("jepabench/PointMaze-Medium-v1")
    for size in (0.7, 1.4):
        reset(env, {"ball_size": size})
        put(env, -2.5, 2.5)
        for _ in range(300):
            env.step(np.array([-1.0, 1.0]))
        assert env.arena.position == pytest.approx([-3 + 0.1 * size, 3 - 0.1 * size], abs=0.02)


def test_step_length_is_the_distance_per_action(two_room):
    reset(two_room, {"step_length": 0.03})
    put(two_room, 0.5, 0.5)
    assert two_room.step(np.array([1.0, 0.0]))[0]["achieved_goal"] == pytest.approx(
        [0.53, 0.5], abs=1e-12
    )


@pytest.mark.parametrize(
    "name",
    [
        "distractors",
        "light",
        "pattern",
        "wall_colour",
        "floor_colour",
        "camera_zoom",
        "ball_colour",
    ],
)
def test_visual_changes_do_not_change_the_motion(point, name):
    actions = np.random.default_rng(0).uniform(-1, 1, (40, 2))
    motions = []
    for variation in (None, {name: "hard"}):
        reset(point, variation)
        motions.append([point.step(action)[0]["observation"] for action in actions])
    assert np.array_equal(*motions)


@pytest.mark.parametrize("count", [1, 4])
def test_the_requested_number_of_distractors_is_visible(two_room, count):
    plain = reset(two_room)["pixels"].astype(int)
    parts = [0]
    for arrangement in range(6):
        frame = reset(two_room, {"distractors": [count, arrangement]})["pixels"]
        parts.append(parts_of((np.abs(frame - plain) > 20).any(axis=-1)))
    assert max(parts) == count


def parts_of(mask):
    import cv2

    return cv2.connectedComponents(mask.astype(np.uint8))[0] - 1


@pytest.mark.parametrize("task_id", [POINT, TWO_ROOM])
def test_reset_restores_the_model_bit_for_bit(task_id):
    env, fresh = envs.make(task_id), envs.make(task_id)
    fresh.reset(seed=3)
    for seed in range(3):
        reset(
            env,
            {
                **dict.fromkeys([factor.name for factor in env.variations.factors], "hard"),
                "ball_shape": "yes",
            },
            seed,
        )
        assert not np.array_equal(env.simulation.model.geom_rgba, fresh.simulation.model.geom_rgba)
    env.reset(seed=3)
    expected = model_arrays(fresh)
    assert len(expected) > 100
    for name, value in model_arrays(env).items():
        assert np.array_equal(value, expected[name]), name


def test_mass_is_that_of_a_model_compiled_with_it(point):
    reset(point, {"ball_mass": 2.0})
    model, expected = (
        point.simulation.model,
        mujoco.MjModel.from_xml_string(
            "<mujoco><worldbody><body><joint type='slide'/><geom type='sphere' size='.1' "
            "density='2000'/></body></worldbody></mujoco>"
        ),
    )
    assert model.body("ball").mass[0] == pytest.approx(expected.body_mass[1])
    assert model.body("ball").inertia == pytest.approx(expected.body_inertia[1])
    assert model.dof_invweight0[0] == pytest.approx(expected.dof_invweight0[0])


def test_a_rebuilt_world_is_varied_again():
    env, fresh = envs.make(DIVERSE, pixels=48), envs.make(DIVERSE, pixels=48)
    variation = {"ball_mass": 2.0, "wall_colour": "green"}
    for seed in range(4):
        seen = reset(env, variation, seed)
        assert env.simulation.model.body("ball").mass[0] == pytest.approx(2 * BALL_MASS)
        assert np.array_equal(seen["pixels"], reset(fresh, variation, seed)["pixels"])
    assert len({env.reset(seed=seed)[0]["pixels"].tobytes() for seed in range(4)}) == 4


@pytest.mark.parametrize("task_id", [POINT, TWO_ROOM])
def test_the_expert_solves_hard_episodes_within_the_same_budget(task_id):
    env = envs.make(task_id)
    solved = []
    for spec in episode_specs(task_id, "test", 8):
        observation, info = envs.reset_to(env, spec, variation="hard")
        expert = make_behaviour(env.task, "expert")
        expert.reset(env, np.random.default_rng(0))
        held = 0
        for _ in range(info["budget"]):
            observation, *_, info = env.step(expert.act(observation))
            held = held + 1 if info["is_success"] else 0
            if held == env.task.held_steps:
                break
        solved.append(held == env.task.held_steps)
    assert np.mean(solved) >= 0.9


# -- mistakes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variation", "error", "message"),
    [
        ("hrad", UnknownNameError, "Did you mean 'hard'"),
        ({"ball_color": "hard"}, UnknownNameError, "Did you mean 'ball_colour'"),
        ({"light": "dimm"}, UnknownNameError, "Did you mean 'dim'"),
        (
            {"light": 7.0},
            VariationError,
            "1 numbers 0.1 ... 2, or dim, bright, none, mild, hard; got 7.0",
        ),
        ({"light": np.nan}, VariationError, "got nan"),
        ({"light": None}, VariationError, "got None"),
        ({"ball_colour": [200, 30, 30]}, VariationError, "3 numbers 0 ... 1,"),
        ({"ball_colour": [0.1, 0.2]}, VariationError, "3 numbers"),
        ({"ball_colour": [[0.1], [0.2, 0.3]]}, VariationError, "3 numbers"),
        ({"step_length": 5}, VariationError, r"\[m\]"),
        ({"distractors": [1.5, 0]}, VariationError, "whole numbers"),
        (["light"], VariationError, "a mapping of factors"),
        (3, VariationError, "a mapping of factors"),
    ],
)
def test_invalid_variation_is_refused_and_episode_continues(two_room, variation, error, message):
    reset(two_room, {"light": "dim"}, seed=4)
    two_room.step(np.array([1.0, 0.0]))
    before, state = two_room._observe(), two_room.snapshot()
    with pytest.raises(error, match=message):
        two_room.reset(seed=9, options={"variation": variation})
    after = two_room.snapshot()
    assert after.draw is state.draw and after.num_steps == 1 and after.rng == state.rng
    assert np.array_equal(two_room._observe()["pixels"], before["pixels"])
    two_room.step(np.array([0.0, 1.0]))


def test_a_world_without_factors_refuses_levels_and_names():
    env = envs.make("tiny_world:tiny/Point-v0")
    reset(env, "none")
    reset(env, {})
    with pytest.raises(VariationError, match="has no factors"):
        reset(env, "hard")
    with pytest.raises(UnknownNameError, match="Known: none"):
        reset(env, {"light": "dim"})


def test_unknown_reset_options_are_refused(two_room):
    with pytest.raises(UnknownNameError, match="Did you mean 'variation'"):
        two_room.reset(seed=0, options={"variations": "hard"})


@pytest.mark.parametrize(
    "wrong",
    [
        {"default": 3.0},
        {"mild": (-1.0, 0.5)},
        {"hard": (0.0, 9.0)},
        {"names": {"huge": 5.0}},
        {"names": {"hard": 0.5}},
        {"default": 0.5, "whole": True},
    ],
)
def test_a_factor_that_contradicts_itself_is_refused(wrong):
    with pytest.raises(VariationError):
        Factor(
            **{
                "name": "size",
                "description": "",
                "default": 1.0,
                "apply": print,
                "allowed": (0.0, 2.0),
            }
            | wrong
        )


def test_two_factors_with_one_name_are_refused():
    factor = Factor(name="light", description="", default=1.0, apply=print, allowed=(0, 2))
    with pytest.raises(VariationError, match="'light', 'light'"):
        Variations("some/Task-v0", lambda: [factor, factor]).checked({"light": 1.0})
