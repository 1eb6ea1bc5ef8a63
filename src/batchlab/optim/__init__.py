"""How weights are updated: optimizers, learning-rate scaling, schedules."""
