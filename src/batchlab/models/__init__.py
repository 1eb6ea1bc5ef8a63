"""Networks, normalisation and losses; a model is built from `input_shape` and `num_classes`."""
