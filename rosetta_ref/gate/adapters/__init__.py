"""A few lines of glue for converters that are Python libraries: what their users write in a script, no better and no worse."""
