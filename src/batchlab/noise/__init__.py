"""What scripts/noise.py does: the gradient noise of a trained model, exactly and by batch size."""
