//! Peers over HTTP and by Lambda's Invoke, against servers that answer well, badly, slowly or not
//! at all.

#[cfg(test)]
mod calls;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod invoke;
#[cfg(test)]
mod server;
