"""What a fit leaves on disk, and the ways back from it."""
