//! Peers over HTTP, against servers that answer well, badly, slowly or not at all.

#[cfg(test)]
mod calls;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod server;
