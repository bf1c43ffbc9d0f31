"""One tile and some days of a cube to soil moisture, its interval and its reasons."""
