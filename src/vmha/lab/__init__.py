"""Real hosts on one Linux machine: namespaces, libvirtd, QEMU, etcd, networks with cables, power and watchdogs.

The tree of processes is the tree of namespaces::

    supervisor            on the machine; holds the lab's lock, waits, tidies up
      pid 1 of the lab    own (user,) mount, pid, net, ipc and uts namespaces: bridges, storage server, power switch
        pid 1 of h1       own mount, pid, net, ipc and uts namespaces: libvirtd, guard, agent, guests
        pid 1 of h2       ...
        pid 1 of etcd-1   one etcd member

Nothing is named on the machine, so two labs run side by side, and the death of any process above takes everything
below it along: the kernel does the cleaning.

Reading order: ``layout`` (the nouns), ``launch`` and ``teardown`` (up and down), ``supervisor``, ``lab`` (pid 1),
``machine`` (a host seen from outside: power, cables, freezer), ``boxroot`` and ``boxinit`` (a host seen from inside).
Standard library only, apart from ``vmha.model``: these processes start quickly and need no site-packages.
"""
