"""The models: each file builds one kind of network from `input_shape` and `num_classes`."""
