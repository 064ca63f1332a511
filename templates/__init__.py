"""Jinja2 templates, shipped as package data (a package so that editable installs find them too)."""
