"""The same pipeline as somebody would write it by hand: one module a tool, with ``stages(job)``."""
