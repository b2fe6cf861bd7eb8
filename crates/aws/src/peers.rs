//! The other services' internal reads over signed HTTP.
