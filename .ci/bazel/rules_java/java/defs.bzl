"""Stands for rules_java where it cannot be fetched: the rules that Bazel 4 has itself."""

java_binary = native.java_binary
java_import = native.java_import
java_library = native.java_library
java_runtime = native.java_runtime
java_test = native.java_test
java_toolchain = native.java_toolchain
