"""What a study over loads comes to: a curve of its figures against how much was asked for."""
