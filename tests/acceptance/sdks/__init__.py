"""A package, unlike other folders of tests, so that pytest ends the cluster when the last test of it has ended."""
