"""Write small datasets with other libraries themselves, for test_exchange.py.

Each needs an environment of its own, since their requirements clash with ours::

    python make_exchange.py lerobot            # lerobot 0.4.4
    python make_exchange.py minari             # minari[create,hdf5] 0.5.4
    python make_exchange.py stable-worldmodel  # stable-worldmodel 0.1.1 with pygame and pymunk 7
"""

import os
import shutil
import sys
from pathlib import Path

import gymnasium
import numpy as np

FOLDER = Path(__file__).parent / "exchange"
POSITIONS = []


class Point(gymnasium.Env):
    observation_space = gymnasium.spaces.Dict(
        dict.fromkeys(
            ("observation", "achieved_goal", "desired_goal"),
            gymnasium.spaces.Box(-1, 1, (2,), np.float64),
        )
    )
    action_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.position, self.goal = self.np_random.uniform(-1, 1, (2, 2))
        return self._observe(), {}

    def step(self, action):
        self.position = np.clip(self.position + 0.1 * action, -1, 1)
        return self._observe(), float(self.position[0] > 0), False, False, {}

    def _observe(self):
        position = self.position.copy()
        POSITIONS.append(position)
        return {"observation": position, "achieved_goal": position, "desired_goal": self.goal}


def make_lerobot(name, video):
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    root = FOLDER / name
    shutil.rmtree(root, ignore_errors=True)
    image = {"shape": (64, 64, 3), "names": ["height", "width", "channels"]}
    dataset = LeRobotDataset.create(
        "tiny/point",
        fps=10,
        root=root,
        use_videos=video,
        features={
            "observation.state": {"dtype": "float32", "shape": (2,), "names": ["x", "y"]},
            "observation.images.top": {"dtype": "video" if video else "image", **image},
            "action": {"dtype": "float32", "shape": (2,), "names": ["dx", "dy"]},
            "next.reward": {"dtype": "float32", "shape": (1,), "names": None},
            "next.done": {"dtype": "bool", "shape": (1,), "names": None},
        },
    )
    rng, written = np.random.default_rng(0), []
    for episode, length in enumerate((9, 13)):
        position = np.zeros(2, np.float32)
        for step in range(length):
            action = rng.uniform(-1, 1, 2).astype(np.float32)
            frame = np.full((64, 64, 3), 20 * (episode + 1), np.uint8)
            x, y = ((position + 1) / 2 * 55).astype(int)
            frame[y : y + 8, x : x + 8] = (200, 60 + 10 * step, 30)
            reward = float(step == length - 1)
            dataset.add_frame(
                {
                    "observation.state": position.copy(),
                    "observation.images.top": frame,
                    "action": action,
                    "next.reward": np.array([reward], np.float32),
                    "next.done": np.array([step == length - 1]),
                    "task": "reach the goal",
                }
            )
            written.append((position.copy(), frame, action, reward))
            position = np.clip(position + 0.1 * action, -1, 1)
        dataset.save_episode()
    dataset.finalize()
    state, pixels, action, reward = map(np.stack, zip(*written, strict=True))
    np.savez_compressed(
        FOLDER / "lerobot.npz", state=state, pixels=pixels, action=action, reward=reward
    )


def make_stable_worldmodel():
    import h5py
    import stable_worldmodel
    from stable_worldmodel.policy import RandomPolicy

    for kind, name in (("hdf5", "pusht.h5"), ("lance", "pusht.lance")):
        path = FOLDER / name
        shutil.rmtree(path, ignore_errors=True)
        path.unlink(missing_ok=True)
        world = stable_worldmodel.World(
            "swm/PushT-v1", num_envs=1, image_shape=(16, 16), max_episode_steps=6
        )
        world.set_policy(RandomPolicy(seed=0))
        world.collect(str(path), episodes=2, seed=0, format=kind)
    with h5py.File(FOLDER / "pusht.h5") as file:
        np.savez_compressed(FOLDER / "pusht.npz", **{name: file[name][:] for name in file})


def make_minari():
    os.environ["MINARI_DATASETS_PATH"] = str(FOLDER / "minari")
    shutil.rmtree(FOLDER / "minari", ignore_errors=True)
    import make_exchange
    import minari

    rewards, actions = [], []
    gymnasium.register("other/Point-v0", "make_exchange:Point", max_episode_steps=7)
    env = minari.DataCollector(gymnasium.make("other/Point-v0", disable_env_checker=True))
    env.action_space.seed(0)
    for seed in range(2):
        env.reset(seed=seed)
        for _ in range(7):
            actions.append(env.action_space.sample())
            rewards.append(env.step(actions[-1])[1])
    env.create_dataset("other/point-v0")
    np.savez_compressed(
        FOLDER / "minari.npz",
        position=np.stack(make_exchange.POSITIONS).reshape(2, 8, 2),
        action=np.stack(actions).reshape(2, 7, 2),
        reward=np.array(rewards).reshape(2, 7),
    )


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    if sys.argv[1] == "lerobot":
        make_lerobot("lerobot_image", video=False)
        make_lerobot("lerobot_video", video=True)
    elif sys.argv[1] == "minari":
        make_minari()
    else:
        make_stable_worldmodel()
