"""What is learned and how it is scored: metrics on a split."""
