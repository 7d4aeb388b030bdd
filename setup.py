"""The cffi hook and the name of its wheel; everything else is in pyproject.toml."""

import sysconfig

from setuptools import setup

# cffi builds against the limited API, so that one wheel works for every later Python. The
# free-threaded build (PEP 703) does not have that API yet, so each version has its own wheel.
one_for_all = {} if sysconfig.get_config_var("Py_GIL_DISABLED") else {"py_limited_api": "cp310"}

setup(cffi_modules=["_native/build.py:ffibuilder"], options={"bdist_wheel": one_for_all})
