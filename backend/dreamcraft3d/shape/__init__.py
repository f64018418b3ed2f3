"""What is being optimised: fields, tetrahedra, meshes and textures."""
