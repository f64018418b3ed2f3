"""What a run will need of a graphics card's memory, and by which means it fits."""
