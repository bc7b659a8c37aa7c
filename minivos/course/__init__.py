"""The exercises of the course: checks that teach, hints, and worked solutions."""
