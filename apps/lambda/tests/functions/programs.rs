//! The bootstraps that cargo has built for the tests.

macro_rules! bootstraps {
    ($($name:literal,)*) => {
        /// Each bootstrap and its file.
        pub(crate) const BOOTSTRAPS: &[(&str, &str)] =
            &[$(($name, env!(concat!("CARGO_BIN_EXE_", $name))),)*];
    };
}

bootstraps! {
    "users", "posts", "social", "timeline",
    "react-users", "react-posts", "react-social", "react-timeline",
    "relay",
    "authorizer", "socket-connect", "socket-message", "socket-disconnect",
    "pre-sign-up",
}
