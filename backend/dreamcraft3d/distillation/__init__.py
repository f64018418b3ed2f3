"""Score distillation: timesteps, SDS, hybrid, VSD and BSD, on priors known only by their interface."""
