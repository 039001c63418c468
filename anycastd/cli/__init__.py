"""The command `anycastd`: one file a verb, loaded lazily."""
