"""What people look at: maps, figures, reports, and a local map page."""
