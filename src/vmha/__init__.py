"""vmha: libvirt/QEMU virtual machines made highly available over etcd."""

__version__ = "0.1.0"
