import numpy as np
import pytest
from PIL import Image

from jepabench.envs import EpisodeSpec, episode_specs, get_task, make, reset_to
from jepabench.evaluation.rollout import Imagination, replay
from jepabench.results.media.films import (
    episode_film,
    imagination_strip,
    imagined_at,
    watch,
    write_film,
    write_picture,
)

TASK = "jepabench/TwoRoom-v1"
SPEC = EpisodeSpec(TASK, "test", "near", 0)
BLOCK = get_task(TASK).action_block
GREEN, RED = (64, 201, 140), (240, 98, 66)


def has_colour(frame, colour):
    return bool((np.abs(frame.astype(int) - colour).sum(axis=-1) < 6).any())


@pytest.fixture(scope="module")
def expert_actions(evaluations):
    return evaluations["expert"].actions["near/0"]


def test_film_has_three_panels_and_one_frame_per_interval(expert_actions):
    film = episode_film(SPEC, expert_actions, size=48, every=10)
    steps = len(expert_actions)
    assert film.dtype == np.uint8 and film.shape[0] == 1 + -(-steps // 10)
    four = episode_film(
        SPEC,
        expert_actions,
        size=48,
        every=10,
        imagination=Imagination(np.array([0]), np.zeros((1, 2, 8, 8, 3), np.uint8)),
    )
    assert four.shape[2] - film.shape[2] > 48 and four.shape[1] == film.shape[1]


def test_a_film_shows_start_goal_and_episode(expert_actions):
    size = 64
    film = episode_film(SPEC, expert_actions, size=size, every=1)
    env = make(TASK, render_mode="rgb_array", render_size=size)
    reset_to(env, SPEC)
    frames = [env.render()]
    for action in expert_actions:
        env.step(action)
        frames.append(env.render())
    for number in (0, 7, len(frames) - 1):
        for shown in (frames[0], env.goal_frame(size), frames[number]):
            assert contains(film[number], shown)


def position(picture, frame):
    """Row and column at which ``frame`` stands in ``picture``, byte for byte, or None."""
    windows = np.lib.stride_tricks.sliding_window_view(picture[..., 0], frame.shape[:2])
    for top, left in np.argwhere((windows[..., 0, :] == frame[0, :, 0]).all(axis=-1)):
        if np.array_equal(picture[top : top + len(frame), left : left + len(frame)], frame):
            return int(top), int(left)
    return None


def contains(picture, frame):
    return position(picture, frame) is not None


def test_the_same_episode_gives_the_same_film(expert_actions):
    first, second = (episode_film(SPEC, expert_actions, size=40, every=20) for _ in range(2))
    assert first.tobytes() == second.tobytes()


def test_the_traced_episode_agrees_with_the_scored_episode(evaluations):
    for name in ("expert", "random"):
        for spec in episode_specs(TASK, "test", 2, strata=("near", "medium")):
            actions = evaluations[name].actions[f"{spec.stratum}/{spec.index}"]
            outcome = replay(spec, actions)
            moments = list(watch(spec, actions, size=16, every=1))
            assert [moment.step for moment in moments] == list(range(len(actions) + 1))
            assert moments[-1].is_success == outcome.success_final
            assert any(moment.is_success for moment in moments) == outcome.success_ever
            assert sum(moment.violation for moment in moments) == outcome.violations


def test_a_violation_between_two_frames_is_not_lost(evaluations):
    seen = 0
    for spec in episode_specs(TASK, "test", 2, strata=("near", "medium")):
        actions = evaluations["random"].actions[f"{spec.stratum}/{spec.index}"]
        every_step = [moment.violation for moment in watch(spec, actions, size=16)]
        sparse = [moment.violation for moment in watch(spec, actions, size=16, every=7)]
        assert any(every_step) == any(sparse)
        seen += any(every_step)
    assert seen, "the random agent broke no keep-out rule, so this shows nothing"


def test_success_is_green_and_a_violation_red(evaluations):
    for name in ("expert", "random", "hold-still"):
        for spec in episode_specs(TASK, "test", 2, strata=("near",)):
            actions = evaluations[name].actions[f"{spec.stratum}/{spec.index}"]
            moments = list(watch(spec, actions, size=40, every=5))
            film = episode_film(spec, actions, size=40, every=5)
            violated = np.cumsum([moment.violation for moment in moments]) > 0
            for moment, frame, before in zip(moments, film, violated, strict=True):
                assert has_colour(frame, RED) == bool(before)
                if moment.is_success and not moment.violation:
                    assert has_colour(frame, GREEN)
    assert not any(
        has_colour(frame, GREEN) for frame in film
    )  # hold-still, the last one, never gets there


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (0, None),
        (1, (1, 10)),
        (5, (1, 10)),
        (6, (1, 20)),
        (10, (1, 20)),
        (11, (2, 21)),
        (20, (3, 22)),
        (21, None),
    ],
)
def test_imagined_frames_are_aligned_by_model_step_since_the_latest_plan(step, expected):
    frames = np.zeros((2, 3, 4, 4, 3), np.uint8)
    frames += np.array([[10, 11, 12], [20, 21, 22]], np.uint8)[:, :, None, None, None]
    found = imagined_at(Imagination(np.array([0, 5]), frames), step, 5)
    assert (found and (found[0], int(found[1][0, 0, 0]))) == expected


def test_the_imagined_panel_is_the_decoded_frame_pixel_by_pixel(expert_actions):
    generator = np.random.default_rng(1)
    frames = generator.integers(0, 255, (1, 4, 16, 16, 3), dtype=np.uint8)
    film = episode_film(
        SPEC, expert_actions, size=64, every=BLOCK, imagination=Imagination(np.array([0]), frames)
    )
    for ahead in range(1, 5):
        assert contains(film[ahead], frames[0, ahead - 1].repeat(4, axis=0).repeat(4, axis=1))
        assert not contains(film[0], frames[0, ahead - 1].repeat(4, axis=0).repeat(4, axis=1))


def test_a_strip_has_imagined_above_real_in_the_same_columns():
    generator = np.random.default_rng(2)
    imagined, real = generator.integers(0, 255, (2, 3, 32, 32, 3), dtype=np.uint8)
    strip = imagination_strip(real[:2], imagined, size=32)
    above, below = (
        [position(strip, frame) for frame in imagined],
        [position(strip, frame) for frame in real[:2]],
    )
    assert (
        len({top for top, _ in above}) == len({top for top, _ in below}) == 1
        and above[0][0] < below[0][0]
    )
    columns = [left for _, left in above]
    assert columns == sorted(columns) and [left for _, left in below] == columns[:2]
    assert not contains(strip, real[2])


def test_a_film_file_holds_every_frame(tmp_path):
    frames = np.random.default_rng(3).integers(0, 255, (5, 20, 30, 3), dtype=np.uint8)
    with Image.open(write_film(tmp_path / "new" / "film.webp", frames, fps=10)) as film:
        assert film.n_frames == 5 and film.size == (30, 20) and film.format == "WEBP"
        film.seek(1)
        film.load()
        assert film.info["duration"] == 100


def test_a_film_of_one_minute_at_report_size_is_small(tmp_path, expert_actions):
    film = episode_film(SPEC, expert_actions, every=1)
    assert write_film(tmp_path / "film.webp", film, fps=12).stat().st_size < 300_000


def test_a_failed_write_leaves_the_old_file_and_no_temporary_file(tmp_path):
    path = write_picture(tmp_path / "picture.png", np.zeros((4, 4, 3), np.uint8))
    before = path.read_bytes()
    with pytest.raises((TypeError, ValueError)):
        write_picture(path, np.zeros((4, 4, 7), np.float64))
    assert path.read_bytes() == before and [one.name for one in tmp_path.iterdir()] == [
        "picture.png"
    ]


def test_rejects_an_interval_of_zero_steps(expert_actions):
    with pytest.raises(ValueError, match="every must be at least 1"):
        episode_film(SPEC, expert_actions, size=16, every=0)
