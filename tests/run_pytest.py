"""Runs pytest on the files given: what a Bazel test target starts."""

import sys

import pytest

if __name__ == "__main__":
    sys.exit(pytest.main(["-n0", *sys.argv[1:]]))  # Bazel runs as many at once as it sees fit.
