"""One short script a job: read the settings, load the data, train, evaluate, log, register."""
