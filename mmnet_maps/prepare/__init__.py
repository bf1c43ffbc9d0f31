"""Raw data to model input: gap filling, features, the station table and the cube."""
