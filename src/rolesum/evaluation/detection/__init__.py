"""How well detectors find the wrong summaries among those that people have labeled."""
