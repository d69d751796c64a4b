"""Measurements on a real cluster under load. They print figures; they assert nothing about time."""
