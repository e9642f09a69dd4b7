"""Data in and out: tables and images from files, frames and built-in sets; tables to files."""
