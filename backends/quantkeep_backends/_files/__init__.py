"""What backends on local files share: writes that last, and a lock that dies with its owner."""
