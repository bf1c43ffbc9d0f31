"""Maps against stations and against a known truth."""
