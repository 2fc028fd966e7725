"""Any pydantic model read from a YAML file, and what is wrong in the file told in words."""
