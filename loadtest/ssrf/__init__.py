"""Can a tenant's address lead us where it must not? Every way we know, through all three doors, in a small world.

    spellings · addresses · names that change their mind · redirects · certificates · answers that hold us up
                 │
                 ▼
    reference, webhook, upload ──► how many connections reached a forbidden address, and what was said instead

The guard is the real one with the system's resolver and real sockets; only the network is our own. The last scene
takes the guard away and shows that the listeners would have seen what got through.
"""
