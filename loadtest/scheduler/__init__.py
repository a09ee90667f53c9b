"""Which order of steps serves best, on a virtual clock: arrivals, one device, orders, and what comes of them."""
