"""MuJoCo environments that each violate one requirement on physics."""

import mujoco
from tiny_world import TinyWorld

from jepabench.envs.mujoco_world.simulation import Simulation
from jepabench.envs.variations.factors import Factor

XML = """
<mujoco>
  <option timestep="0.01" gravity="0 0 0"/>
  <worldbody>
    <body><joint name="x" type="slide" damping="1"/>
          <joint name="y" type="slide" axis="0 1 0" damping="1"/>
          <geom size="0.1" mass="1"/></body>
  </worldbody>
  <actuator><velocity joint="x" kv="10"/><velocity joint="y" kv="10"/></actuator>
</mujoco>
"""


class Simulated(TinyWorld):
    """Correct: a point in MuJoCo with a control step of 0.1 s."""

    num_substeps, factor = 10, 1.0

    def __init__(self, task, **kwargs):
        self.simulation = Simulation(mujoco.MjModel.from_xml_string(XML))
        super().__init__(task, **kwargs)

    def _set_physics(self, physics):
        super()._set_physics(physics[:2])
        self.simulation.rest_state({"x": physics[0], "y": physics[1]})

    def _step_physics(self, action):
        super()._step_physics(action)
        self.simulation.data.qfrc_applied[:] = action * self.factor
        self.simulation.step(self.num_substeps)


class WrongTime(Simulated):
    num_substeps = 5


class Explodes(Simulated):
    factor = 1e14


class WrongDefaultMass(Simulated):
    """The default of its factor is not the mass in the XML."""

    def _factors(self):
        return (
            Factor(
                name="mass",
                description="mass of the point",
                default=0.9,
                apply=self.weigh,
                allowed=(0.1, 2.0),
                hard=(0.2, 0.5),
            ),
        )

    def weigh(self, value):
        self.simulation.model.body_mass[1] = value[0]


class DeadActuator(TinyWorld):
    def _step_physics(self, action):
        super()._step_physics(action * [1.0, 0.0])
