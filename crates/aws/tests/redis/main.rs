//! What stands on Redis, on a single server and on a cluster, in good times and bad.

#[cfg(test)]
mod faults;
#[cfg(test)]
mod feed;
#[cfg(test)]
mod registry;
#[cfg(test)]
mod servers;
#[cfg(test)]
mod suites;
