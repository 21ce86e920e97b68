"""Subgoals from a graph of data states whose edges are short learned distances.

Search on the replay buffer (Eysenbach et al., 2019, arXiv 1906.05253) is a strong and simple
baseline for long-horizon planning. The shortest path in the graph splits the way to a distant goal
into subgoals. The graph search needs no model steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import dijkstra
from torch import Tensor

from jepabench.agents.costs import learned_distance
from jepabench.envs.data.files import atomic_write
from jepabench.envs.splits import EpisodeSpec
from jepabench.world_models.distances import DistanceHead
from jepabench.world_models.settings import require_at_least

_NODES = "nodes.safetensors"
_CHUNK = 64  # number of rows of a distance table that are computed together


class StateGraph:
    """A directed graph of data states, with edges where the learned distance is short.

    Args:
        nodes: Latents of data states [N, D].
        distance: Learned distance, in model steps.
        max_edge: Maximum length of an edge [model steps].
    """

    def __init__(self, nodes: Tensor, distance: DistanceHead, *, max_edge: float) -> None:
        require_at_least(0, max_edge=max_edge)
        self.nodes, self.distance, self.max_edge = nodes, distance, max_edge
        lengths = self._table(nodes, nodes)
        lengths[lengths > max_edge] = 0  # scipy treats a missing entry as a missing edge
        np.fill_diagonal(lengths, 0)
        # Shortest paths to a node are shortest paths from it in the reversed graph.
        self._reversed = csr_matrix(lengths.T)

    def to(self, device: torch.device) -> StateGraph:
        """Move the nodes and the learned distance to a device. Paths are found on the CPU."""
        self.nodes = self.nodes.to(device)
        self.distance.to(device)
        return self

    @property
    def num_edges(self) -> int:
        """Number of directed edges."""
        return self._reversed.nnz

    def distances_to(self, goal: Tensor) -> NDArray[np.float64]:
        """Return the length of the shortest path from each node [N] to ``goal`` [D] [model steps].

        The length is infinite if there is no path. The last edge connects a node within
        ``max_edge`` to the goal. If there is no such node, the nearest one is used.
        """
        last = self._table(self.nodes, goal[None])[:, 0]
        near = np.flatnonzero(last <= max(self.max_edge, last.min()))
        ways = dijkstra(self._reversed, indices=near)
        return (ways + last[near, None]).min(0)

    def distances_from(self, latent: Tensor) -> NDArray[np.float64]:
        """Return the learned distance from ``latent`` [D] to each node [N]."""
        return self._table(latent[None], self.nodes)[0]

    @torch.no_grad()
    def _table(self, starts: Tensor, ends: Tensor) -> NDArray[np.float64]:
        rows = [self.distance(chunk[:, None], ends[None]) for chunk in starts.split(_CHUNK)]
        return torch.cat(rows).double().cpu().numpy()


class GraphSubgoals:
    """Chooses the node within reach that is nearest to the goal along the graph.

    Implements ``jepabench.agents.mpc.agent.Subgoals``.

    Args:
        graph: Graph of data states.
        reach: Largest learned distance to a subgoal [model steps]. The planner should be able to
            plan this far.
    """

    def __init__(self, graph: StateGraph, *, reach: float) -> None:
        require_at_least(0, reach=reach)
        self.graph, self.reach = graph, reach
        self._ways: dict[int, NDArray[np.float64]] = {}
        self._num_episodes = 0

    def to(self, device: torch.device) -> GraphSubgoals:
        """Move the graph's nodes and its learned distance to a device."""
        self.graph.to(device)
        return self

    def reset(self, specs: Sequence[EpisodeSpec]) -> None:
        """Start B new episodes."""
        self._ways, self._num_episodes = {}, len(specs)

    @torch.no_grad()
    def choose(self, episode: int, latent: Tensor, goal: Tensor) -> Tensor:
        """Return the latent of the subgoal [*latent], which is the goal if it is within reach."""
        here, there = latent.flatten(), goal.flatten()
        if float(self.graph.distance(here, there)) <= self.reach:
            return goal
        if episode not in self._ways:
            self._ways[episode] = self.graph.distances_to(there)
        ways, away = self._ways[episode], self.graph.distances_from(here)
        if not np.isfinite(ways).any():
            return goal
        leads_there = np.isfinite(ways)
        within = leads_there & (away <= self.reach)
        # If no such node is within reach, choose the nearest node with a path to the goal.
        rest = (
            np.where(within, ways, np.inf) if within.any() else np.where(leads_there, away, np.inf)
        )
        return self.graph.nodes[int(rest.argmin())].view_as(goal)

    @property
    def model_steps(self) -> NDArray[np.int64]:
        """Zeros [B], since no predictions are made."""
        return np.zeros(self._num_episodes, dtype=np.int64)


def train(*, seed: int, num_nodes: int = 1000, **settings: Any) -> None:
    """Train the distance of a graph and draw ``num_nodes`` frames of the data as its nodes.

    ``settings`` are the other arguments of ``learned_distance.train``.

    Raises:
        ValueError: See ``learned_distance.train``.
    """
    require_at_least(2, num_nodes=num_nodes)

    def keep_nodes(folder: Path, latents: Tensor) -> None:
        rows = np.random.default_rng([seed, 2]).permutation(len(latents))[:num_nodes]
        with atomic_write(folder / _NODES) as partial:
            save_file({"nodes": latents[np.sort(rows)].contiguous()}, partial)

    learned_distance.train(seed=seed, extra={"num_nodes": num_nodes}, also=keep_nodes, **settings)


def load_graph(directory: Path, *, task_id: str, world_model: Path, max_edge: float) -> StateGraph:
    """Load the graph that ``train`` saved in ``directory``.

    Raises:
        ValueError: See ``load_distance``; also if the folder has no nodes.
    """
    head = learned_distance.load_distance(directory, task_id=task_id, world_model=world_model)
    try:
        nodes = load_file(Path(directory) / _NODES)["nodes"]
    except (OSError, SafetensorError, KeyError) as error:
        raise ValueError(
            f"The nodes in {directory} cannot be read ({error}). Delete it and train again."
        ) from error
    return StateGraph(nodes, head, max_edge=max_edge)


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphSubgoalsConfig:
    """Settings of ``GraphSubgoals``.

    Attributes:
        max_edge: See ``StateGraph``.
        reach: See ``GraphSubgoals``.
    """

    max_edge: float = 3.0
    reach: float = 5.0

    def build(self, directory: Path, *, task_id: str, world_model: Path) -> GraphSubgoals:
        """Return the subgoals of the graph in ``directory``; see ``load_graph``."""
        graph = load_graph(
            directory, task_id=task_id, world_model=world_model, max_edge=self.max_edge
        )
        return GraphSubgoals(graph, reach=self.reach)
