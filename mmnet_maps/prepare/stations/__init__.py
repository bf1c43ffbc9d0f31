"""Station tables."""
