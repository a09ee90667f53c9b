"""The one guarded way out to every address that a tenant gives us."""
