"""One run of what was built: warm up, drive the loop, evaluate, measure, resume."""
