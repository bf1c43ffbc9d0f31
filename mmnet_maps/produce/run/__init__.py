"""Work units, and the run that makes them."""
