"""Scripts of actions and user actions: checked, and run in processes that can do nothing else."""
