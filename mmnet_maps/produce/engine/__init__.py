"""Trained weights to numbers: exact, factorised inference."""
