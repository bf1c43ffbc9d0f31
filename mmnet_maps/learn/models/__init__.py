"""The models: three networks of tensors only, and three baselines behind one fit and predict."""
