"""Data sets: each module has a function that loads one kind of data as a `batchlab.dataset.Dataset`."""
