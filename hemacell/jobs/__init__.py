"""What the recipes in `projects/` share: everything around a job's own steps."""
