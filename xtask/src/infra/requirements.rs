//! Every requirement that AWS provides, in the templates with its value.
