"""What sees and hears: each expert turns a clip into tokens. `experts.base` is all an author needs to read."""
