"""What happens, told to the log, the metrics, the journal and whoever reads along."""
