"""What leaves the notebook: stills for papers, and pages that need no kernel."""
