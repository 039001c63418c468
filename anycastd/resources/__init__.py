"""What operators make at run time: accelerated EIPs, tasks and dials. Pure: commands to changes or refusals."""
