"""What a run leaves behind: losses, latent means, samples, parameters."""
