"""What the chapters ask, and the wrong answers that are told apart: content, of which the library ships nothing."""
