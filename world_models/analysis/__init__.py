"""What a latent contains: collapse diagnostics, probes and imagined rollouts."""
