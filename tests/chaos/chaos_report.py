"""What the tests of `make chaos` did and what came of it; conftest.py prints the lines."""

LINES: list[str] = []
