"""A small orders service: one task of each kind, and a journal that shows where each call ran."""
