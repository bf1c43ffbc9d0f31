"""Where data comes from: one module an origin, each in catalogue names and units."""
