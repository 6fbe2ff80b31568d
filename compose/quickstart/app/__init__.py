"""A document pipeline on Temporal: an upload API, a workflow and the workers that run it."""
