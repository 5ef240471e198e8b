"""Sound that is made up or changed, and the draws that decide how: voices, rooms, noise, pauses."""
