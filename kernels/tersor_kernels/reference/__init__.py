"""NumPy, slow and obvious: these functions define the answer."""
