"""Functions that measure an arm which is not simply trained: (config, seed, **settings) -> metric -> value."""
