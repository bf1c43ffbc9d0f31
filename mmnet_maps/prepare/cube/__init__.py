"""The native-resolution cube: configuration, layout, building, reading, audit."""
