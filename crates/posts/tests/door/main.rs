//! The post service as its callers meet it: its routes, its reactions, its internal reads.

#[cfg(test)]
mod processes;
#[cfg(test)]
mod races;
#[cfg(test)]
mod reading;
#[cfg(test)]
mod reports;
#[cfg(test)]
mod suspension;
#[cfg(test)]
mod world;
#[cfg(test)]
mod writing;
