"""A day of a product against the same season of other years."""
