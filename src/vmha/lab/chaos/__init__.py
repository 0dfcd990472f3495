"""Chaos on real hosts: faults drawn from a seed, healing, and a verdict that shares nothing with vmha's own records.

::

    schedule   what happens in round N of seed S, as data (pure)
    strikes    doing it to a lab: power, cables, freezer, signals inside the machines, virsh, the operator's verbs
    recovery   when every guest was back, read from the storage server's count of writes (pure)
    judge      facts of a round in, violations out (pure)
    rounds     strike, heal, wait, judge, one round after the other
    evidence   everything that is needed to find out why, copied out of the lab before it goes away
    report     lines, totals, and the record in the docs (pure)

Everything happens inside the lab's own machines: a signal is sent by a shell in that machine's process namespace, so
that no number can ever mean a process outside.
"""
