"""What measures an arm that is not simply trained: functions (config, seed, **settings) -> metric -> value."""
