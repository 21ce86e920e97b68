import numpy as np
import pytest
import torch

from jepabench.world_models.training.batches import ActionScale, WindowSampler, step_generators


def test_windows_hold_the_dataset_rows_and_normalised_actions(two_room):
    data, _ = two_room
    sampler = WindowSampler(data, observation_key="pixels", num_frames=4)
    assert len(sampler) == len(data.window_starts(4))
    batch = sampler.batch(np.array([0, len(sampler) - 1]))
    rows = data.window_starts(4)[[0, -1]][:, None] + np.arange(4)
    np.testing.assert_array_equal(batch.observations["pixels"].numpy(), data.field("pixels")[rows])
    np.testing.assert_allclose(batch.state.numpy(), data.field("observation")[rows], rtol=1e-6)
    mean, std = data.action_statistics()
    expected = (data.field("action")[rows[:, :-1]] - mean) / std
    np.testing.assert_allclose(batch.actions.numpy(), expected, atol=1e-5)


def test_windows_before_the_start_repeat_the_first_frame_with_the_zero_action(two_room):
    data, _ = two_room
    sampler = WindowSampler(data, observation_key="observation", num_frames=4, history=3)
    whole = len(data.window_starts(4))
    assert len(sampler) == whole + 2 * len(data)
    batch = sampler.batch(
        np.array([whole, whole + len(data)])
    )  # one and two frames before episode 0
    first = data.field("observation")[:4].astype(np.float32)
    np.testing.assert_array_equal(batch.observations["observation"][0].numpy(), first[[0, 0, 1, 2]])
    np.testing.assert_array_equal(batch.observations["observation"][1].numpy(), first[[0, 0, 0, 1]])
    zero = sampler.scale.normalise(torch.zeros(2))
    torch.testing.assert_close(batch.actions[0, 0], zero)
    torch.testing.assert_close(batch.actions[1, :2], zero.expand(2, 2))
    torch.testing.assert_close(
        batch.actions[1, 2],
        sampler.scale.normalise(torch.tensor(np.array(data.field("action")[0]))),
    )


def test_a_window_longer_than_every_episode_is_refused(two_room):
    with pytest.raises(ValueError, match="longest has 8"):
        WindowSampler(two_room[0], observation_key="pixels", num_frames=10)


def test_the_draws_of_a_step_depend_on_its_number_only():
    def draws(seed: int, step: int) -> tuple[float, float]:
        rng, generator = step_generators(seed, step)
        return float(rng.random()), float(torch.rand((), generator=generator))

    assert draws(0, 7) == draws(0, 7)
    assert len({draws(seed, step) for seed in range(3) for step in range(3)}) == 9


def test_the_scale_is_undone_exactly(two_room):
    scale = ActionScale.from_dataset(two_room[0])
    actions = torch.randn(5, 2, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(scale.restore(scale.normalise(actions)), actions)
