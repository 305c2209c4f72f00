"""What the network should say of a patch, and the loss where it says something else."""
