"""Floor 2: weights in fewer bits, which contract as any other weight does."""
