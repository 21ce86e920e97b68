"""Time one plan of each planner with a model of typical size on one thread.

Run ``python benchmarks/speed/planning.py``. The model is an untrained JEPA of the default size,
since time does not depend on the weights. The oracle plans in the simulators themselves. Times are
processor times, so that other processes on the machine matter less.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
import torch

from jepabench.agents.costs.energy import Energy
from jepabench.agents.costs.latent_cost import LatentCost
from jepabench.agents.mpc.agent import MPCAgent
from jepabench.agents.oracle import OracleMPCAgent
from jepabench.agents.planners.base import ActionBounds, Planner
from jepabench.agents.planners.cem import CEMPlanner
from jepabench.agents.planners.gradient import GradientPlanner
from jepabench.agents.planners.icem import ICEMPlanner
from jepabench.agents.planners.random_shooting import RandomShootingPlanner
from jepabench.envs import episode_specs, make, reset_to
from jepabench.world_models.base import Context, WorldModel
from jepabench.world_models.kinds.jepa import JEPA, JEPAConfig
from jepabench.world_models.networks.precision import convert_precision

BIG = CEMPlanner(num_samples=300, num_elites=30, num_iterations=30)
PLANNERS = {
    "CEM 300 x 30": BIG,
    "iCEM 64 x 4": ICEMPlanner(),
    "random shooting 768": RandomShootingPlanner(),
    "CEM 128 x 6": CEMPlanner(),
    "gradient 8 x 8": GradientPlanner(num_starts=8, num_iterations=8),
    "gradient 16 x 30": GradientPlanner(),
}


def main() -> None:
    """Print the median and worst milliseconds per plan."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", default="jepabench/TwoRoom-v1")
    parser.add_argument("--plans", type=int, default=10)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model = JEPA(JEPAConfig(action_size=2))
    for name, planner in PLANNERS.items():
        agent = MPCAgent(
            task_id=arguments.task,
            model=model,
            planner=planner,
            energy=Energy(),
            action_mean=np.zeros(2),
            action_std=np.full(2, 0.5),
        )
        report(name, agent, arguments.task, arguments.plans)
    for precision in ("float32", "bfloat16"):
        for name in ("CEM 300 x 30", "CEM 128 x 6", "iCEM 64 x 4"):
            side_by_side(
                f"{name} {precision}", PLANNERS[name], convert_precision(model.eval(), precision)
            )
    report(
        "oracle CEM 128 x 6",
        OracleMPCAgent(task_id=arguments.task),
        arguments.task,
        max(2, arguments.plans // 5),
    )


def side_by_side(name: str, planner: Planner, model: WorldModel) -> None:
    """Print milliseconds per plan, without encoding, for batches of 1, 8 and 64 problems."""
    bounds = ActionBounds(torch.full((2,), -2.0), torch.full((2,), 2.0))
    times = []
    for number in (1, 8, 64):
        context = Context(torch.randn(number, 2, 32), torch.zeros(number, 1, 2))
        cost = LatentCost(model, context, torch.randn(number, 32), Energy())
        streams = [torch.Generator().manual_seed(seed) for seed in range(number)]
        planner.plan(cost, bounds=bounds, initial=None, generators=streams)
        began = time.process_time()
        planner.plan(cost, bounds=bounds, initial=None, generators=streams)
        times.append(1000 * (time.process_time() - began) / number)
    print(
        f"{name:22s} 1, 8, 64 side by side: "
        f"{times[0]:6.1f} {times[1]:6.1f} {times[2]:6.1f} ms per plan"
    )


def report(name: str, agent: MPCAgent | OracleMPCAgent, task_id: str, num_plans: int) -> None:
    """Play one episode and print the time of its planning steps."""
    spec = episode_specs(task_id, "validation", 1)[0]
    env = make(task_id, pixels=64)
    agent.reset([spec])
    observation, _ = reset_to(env, spec)
    times = []
    for step in range(num_plans * env.task.action_block):
        began = time.process_time()
        action = agent.act(
            {key: value[None] for key, value in observation.items()}, np.array([True])
        )
        if step % env.task.action_block == 0:
            times.append(1000 * (time.process_time() - began))
        observation = env.step(action[0])[0]
    steps = int(agent.model_steps[0]) // num_plans
    print(
        f"{name:22s} {statistics.median(times):8.1f} ms per plan "
        f"(worst {max(times):.1f}), {steps} model steps"
    )


if __name__ == "__main__":
    main()
