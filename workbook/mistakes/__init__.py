"""The wrong answers that learners give: a file a chapter; the chapter names each one with its message."""
