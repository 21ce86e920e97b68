"""Planning costs: energies on latents, learned distances, cost tasks and uncertainty."""
