"""The worker's instances on this host: their files, and adding, listing and removing them."""
