"""The engines that come with quantkeep, one module each, named after its URL scheme."""
