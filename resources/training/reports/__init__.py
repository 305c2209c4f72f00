"""What reports and the teacher add to what people marked."""
