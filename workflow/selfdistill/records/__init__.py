"""Where results come from, whether they are whole, and how two trees of them differ."""
