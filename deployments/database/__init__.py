"""The database itself: how it is opened, written, watched and migrated, and which tables it has."""
