"""Models on this machine: the kernel's side. `worker/` is the child process that runs them.

Inside, imports run endpoint > pool > process > progress > models, request; worker/ > models, request.
"""
