"""Our own site as others see it: a look at its public address."""
