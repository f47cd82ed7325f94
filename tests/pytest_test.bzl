"""Test files as Bazel targets: pytest runs them as it does outside of Bazel."""

load("@rules_python//python:defs.bzl", "py_test")

def pytest_test(name, deps = [], borrows = [], size = "large", **kwargs):
    """The target of the test file `name`.py.

    Args:
      name: of the file, without `.py`.
      deps: libraries and programs that the file uses.
      borrows: other test files whose helpers it imports; their tests are not run.
      size: of `py_test`; large, as property tests compile for minutes on a busy machine.
      **kwargs: of `py_test`.
    """
    own = name + ".py"
    py_test(
        name = name,
        size = size,
        srcs = [own, "//tests:run_pytest.py"] + borrows,
        main = "//tests:run_pytest.py",
        args = ["$(rootpath %s)" % own],
        deps = deps + ["//tests:support"],
        **kwargs
    )
