"""One fit: the task, the pipeline, its stages, and the assembled result."""
