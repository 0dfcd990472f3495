"""What an operator may ask of a cluster, and what it is told: for the command line, the lab and the simulation alike.

Nothing here prints or reads arguments. Reading order: ``client`` (one reading, guarded writes), ``vms``, ``nodes``,
``domains`` and ``requests`` (the verbs), ``follow`` (waiting by watching), ``overview`` and ``why`` (what is shown),
``document``, ``apply`` and ``export`` (the YAML document), ``rgmanager`` (such a document out of a cluster.conf).
"""
