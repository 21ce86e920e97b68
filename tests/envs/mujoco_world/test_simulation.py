import mujoco
import numpy as np
import pytest

from jepabench.envs.mujoco_world.simulation import Simulation

# Everything that a state may consist of: contacts, a ball joint, an actuator with memory, a mocap
# body, a weld.
MODEL = """
<mujoco>
  <worldbody>
    <geom type="plane" size="3 3 1"/>
    <body name="handle" mocap="true" pos="0.5 0 0.5">
      <geom type="sphere" size="0.02" contype="0" conaffinity="0"/></body>
    <body name="held" pos="0.5 0 0.5"><freejoint/><geom type="box" size="0.05 0.1 0.05"/></body>
    <body name="loose" pos="0.8 0.3 0.2"><freejoint name="loose"/>
      <geom type="capsule" size="0.05 0.1"/></body>
    <body pos="0 0 1">
      <joint name="swing" type="hinge" axis="0 1 0" damping="0.01"/>
      <geom type="capsule" size="0.03" fromto="0 0 0 0.4 0 0"/>
      <body pos="0.4 0 0"><joint type="ball"/>
        <geom type="capsule" size="0.03" fromto="0 0 0 0.4 0 0"/></body>
    </body>
  </worldbody>
  <equality><weld body1="handle" body2="held"/></equality>
  <actuator><position joint="swing" kp="5" timeconst="0.1"/></actuator>
</mujoco>
"""


@pytest.fixture
def simulation():
    return Simulation(mujoco.MjModel.from_xml_string(MODEL))


def drive(simulation, rng, num_steps):
    """Returns what is seen on the way."""
    seen = []
    for _ in range(num_steps):
        simulation.data.ctrl[:] = rng.uniform(-2, 2)
        simulation.data.mocap_pos[0] += rng.uniform(-0.02, 0.02, 3)
        simulation.step(3)
        seen.append(
            np.concatenate(
                [
                    simulation.get_state(),
                    simulation.data.xpos.ravel(),
                    simulation.data.geom_xmat.ravel(),
                ]
            )
        )
    return np.array(seen)


def test_a_restored_state_continues_exactly_in_any_simulation(simulation):
    drive(simulation, np.random.default_rng(0), 60)
    assert simulation.data.ncon > 0
    state = simulation.get_state()
    future = drive(simulation, np.random.default_rng(1), 60)
    for other in (simulation, Simulation(mujoco.MjModel.from_xml_string(MODEL))):
        other.set_state(state)
        assert np.array_equal(other.get_state(), state)
        assert np.array_equal(drive(other, np.random.default_rng(1), 60), future)


def test_poses_are_current_after_steps_and_restores(simulation):
    drive(simulation, np.random.default_rng(0), 20)
    state, poses = simulation.get_state(), simulation.data.geom_xpos.copy()
    reference = mujoco.MjData(simulation.model)
    reference.qpos[:], reference.mocap_pos[:] = simulation.data.qpos, simulation.data.mocap_pos
    mujoco.mj_forward(simulation.model, reference)
    assert np.array_equal(poses, reference.geom_xpos)
    drive(simulation, np.random.default_rng(1), 20)
    simulation.set_state(state)
    assert np.array_equal(simulation.data.geom_xpos, poses)


def test_returned_state_is_a_copy(simulation):
    state = simulation.get_state()
    kept = state.copy()
    drive(simulation, np.random.default_rng(0), 5)
    assert np.array_equal(state, kept)


def test_a_state_at_rest_does_not_depend_on_the_past(simulation):
    fresh = simulation.rest_state({"swing": 0.3})
    drive(simulation, np.random.default_rng(0), 20)
    assert np.array_equal(simulation.rest_state({"swing": 0.3}), fresh)
    assert simulation.data.joint("swing").qpos[0] == 0.3 and simulation.data.time == 0.0
    assert not simulation.data.qvel.any() and not simulation.data.act.any()


def test_states_of_other_models_and_unknown_joints_are_refused(simulation):
    with pytest.raises(ValueError, match=r"must have shape \(\d+,\), got \(3,\)"):
        simulation.set_state(np.zeros(3))
    with pytest.raises(KeyError, match="swing"):
        simulation.rest_state({"swin": 0.0})
