"""A fleet on a virtual clock: the order, the scaling and the costs of the service, without a device or a database."""
