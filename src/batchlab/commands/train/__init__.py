"""`batchlab train`: pre-flight, the job of a configuration, the end of a search."""
