"""A bundle and a cube become daily maps, and files of them."""
