"""Test files as Bazel targets: pytest runs them as it does outside of Bazel."""

load("@rules_python//python:defs.bzl", "py_library", "py_test")

def pytest_tests(deps = [], test_deps = [], support = None, size = "large", **kwargs):
    """A target for each test file of a folder, and `support` for what its tests share.

    Args:
      deps: libraries and programs that the files use.
      test_deps: what the tests use besides, and `support` does not.
      support: files of the folder that hold no tests; by default all such.
      size: of `py_test`; large, as property tests compile for minutes on a busy machine.
      **kwargs: of `py_test`.
    """
    tests = native.glob(["test_*.py"])
    py_library(
        name = "support",
        testonly = True,
        srcs = native.glob(["*.py"], exclude = tests) if support == None else support,
        visibility = ["//tests:__subpackages__"],
        deps = deps + ([] if native.package_name() == "tests" else ["//tests:support"]),
    )
    for test in tests:
        py_test(
            name = test[:-3],
            size = size,
            srcs = [test, "//tests:run_pytest.py"],
            main = "//tests:run_pytest.py",
            args = ["$(rootpath %s)" % test],
            deps = deps + test_deps + [":support"],
            **kwargs
        )
