"""Coverage-guided fuzzing of the framings and of remote calls: ``nox -s fuzz``, or
``python -m fuzz --help``.

atheris (libFuzzer for Python) generates inputs and keeps those that reach a new branch of
``ipcpipes`` or of the targets. It does not see the branches of the C code of the default framing;
there the Python reference, which branches in the same places, guides it.
"""
