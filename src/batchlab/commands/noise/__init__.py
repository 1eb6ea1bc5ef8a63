"""`batchlab noise`: gradient noise of a trained model, exact and by batch size."""
