"""Layers of sequences: embeddings, recurrent layers, attention."""
