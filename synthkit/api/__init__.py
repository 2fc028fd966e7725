"""What the commands do, as functions for Python and notebooks; `synthkit.build` and the others are these.

Each function takes what users write, calls the same code as the command of its name, and returns a typed
result. Nothing is printed but progress and notes, on standard error.
"""
