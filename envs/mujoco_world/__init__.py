"""Building blocks of MuJoCo worlds: simulation, CPU ray-cast rendering, scenery and cameras."""
