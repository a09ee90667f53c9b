"""From a stranger's bytes to pixels, in processes that can be lost."""
