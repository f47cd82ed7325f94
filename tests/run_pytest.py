"""Runs pytest on the files given: what a Bazel test target starts."""

import sys

import pytest

if __name__ == "__main__":
    sys.exit(pytest.main(sys.argv[1:]))
