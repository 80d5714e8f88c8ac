"""How models are connected: trained paths, barriers beyond the line, who makes them, and when they arise."""
