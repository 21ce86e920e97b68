"""Import datasets of other libraries, and export datasets for them."""
