"""A station table becomes a trained model, and what the model is worth."""
