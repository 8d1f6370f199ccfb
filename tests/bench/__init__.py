"""`make bench`: rill beside other clients on this machine."""
