"""What every part uses and nothing here knows: errors for people, whole files, heat maps, pages in one file."""
