"""Coverage-guided fuzzing of the framings and of remote calls: ``nox -s fuzz``, or
``python -m fuzz --help``.

atheris (libFuzzer for Python) makes up streams and keeps those that reach a branch of ``ipcpipes``,
or of the targets here, that none did before. The C of the default framing it does not see into;
there the Python reference, which branches in the same places, leads it.
"""
