"""The training loop and what it needs: plan, clock, gradient, step, build, checkpoint."""
