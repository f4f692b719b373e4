"""Files, locks, folders, validation, errors: what knows nothing of models or texts."""
