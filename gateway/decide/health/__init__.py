"""What makes a target fit or unfit."""
