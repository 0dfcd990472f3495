"""The witness guest: 512 bytes that tick, and the disk on which every tick is written down.

``tick.asm`` is the guest, ``disk`` makes the disk it boots from, ``domain`` the libvirt definition, ``entry`` reads
one sector of what it wrote, ``verdict`` judges the whole disk. All of it is pure or plain file input and output.
"""
