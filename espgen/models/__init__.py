"""The bundled demo model: handwritten digits, in float and in QDQ form, with a test set."""
