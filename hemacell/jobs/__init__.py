"""What the recipes in `projects` share: the life of a job around its own work."""
