"""What a command does, callable from Python; the only room that joins sources to the rest."""
