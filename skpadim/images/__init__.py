"""From whatever a user passes as photos to pixels: the ground floor, which knows no network."""
