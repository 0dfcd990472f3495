"""The command line: verbs, tables, exit codes. ``main`` is the door; each module beside it is one group of verbs."""
