"""Data sets: each module loads one kind of data as a `Dataset`; the stream cuts it into batches."""
