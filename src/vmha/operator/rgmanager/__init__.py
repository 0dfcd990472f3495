"""What RGManager's users bring along: their ``cluster.conf``, translated into a document for ``vmha apply``.

The translation is pure: bytes in, a document and findings out. It promises that nothing of the file is lost in
silence: every attribute has a finding that says what became of it.
"""
