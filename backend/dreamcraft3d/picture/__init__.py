"""The reference picture: from words or from a file, cut out, framed, with depth and normals."""
