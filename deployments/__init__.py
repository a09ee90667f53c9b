"""Everything that runs around a model: HTTP in, tasks kept, replicas stepped, pictures delivered."""
