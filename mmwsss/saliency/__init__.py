"""Saliency maps: which pixels stand out, whatever their class."""
