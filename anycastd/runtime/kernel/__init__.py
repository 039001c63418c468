"""What else is kept in the kernel: devices, classes, the size of its tables; and the removal of all that is ours."""
