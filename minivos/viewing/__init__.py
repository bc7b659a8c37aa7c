"""What people look at and click on."""
