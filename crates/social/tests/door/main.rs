//! The social service as its callers meet it: its routes, its reactions, its internal reads.

#[cfg(test)]
mod deletion;
#[cfg(test)]
mod follows;
mod hides;
#[cfg(test)]
mod likes;
#[cfg(test)]
mod processes;
#[cfg(test)]
mod races;
#[cfg(test)]
mod suspension;
#[cfg(test)]
mod world;
