"""Files to voxels: headers are parsed strictly, and all of it runs in a child process with limits.

`child` is what the rest of the program calls; it starts `python -m model.reading`, in which `scan` reads.
"""
