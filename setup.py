"""The cffi hook; everything else is in pyproject.toml."""

from setuptools import setup

setup(cffi_modules=["_native/build.py:ffibuilder"])
