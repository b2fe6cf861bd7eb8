//! The edge around a small router, asked as clients ask.

#[cfg(test)]
mod access;
#[cfg(test)]
mod browsers;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod internal;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod names;
#[cfg(test)]
mod operators;
#[cfg(test)]
mod problems;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod shedding;
#[cfg(test)]
mod site;
#[cfg(test)]
mod sockets;
#[cfg(test)]
mod tracing;
