"""The kinds of world model: JEPA, autoencoder, latent-variable, recurrent, ensemble, frozen-patch and hierarchical."""
