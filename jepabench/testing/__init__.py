"""Contract tests for the parts of other packages, one line each.

    from jepabench.testing import check_agent, check_planner, check_world_model

    def test_my_planner():
        check_planner(MyPlanner(horizon=4))

Each function raises ``ContractError`` with the clause that is broken, and returns nothing.
"""

from jepabench.testing.agents import check_agent
from jepabench.testing.contract import ContractError
from jepabench.testing.planners import check_planner
from jepabench.testing.world_models import check_world_model

__all__ = ["ContractError", "check_agent", "check_planner", "check_world_model"]
