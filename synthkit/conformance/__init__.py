"""What every family of generators must keep, as checks that anybody can run on a family of their own."""
