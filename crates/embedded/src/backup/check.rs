//! Whether copies can be restored, found out by reading all of them. Nothing is written.

use std::path::Path;

use super::BackupError;
use super::catalog::{Copied, Plan};
use super::chunk::{ChunkReader, Content, Head, Kind};
use super::restore::other;

/// Reads a file, holds every chunk to its hash, and gives what it holds to `take`.
pub(super) fn check_file(
    file: &Copied,
    mut take: impl FnMut(&Head, &[u8]) -> Result<(), BackupError>,
) -> Result<(), BackupError> {
    let mut chunks = ChunkReader::open(&file.path, file.bytes)?;
    while let Some(head) = chunks.next()? {
        let content = chunks.read(&head)?;
        take(&head, &content)?;
    }
    match &file.digest {
        Some(digest) if *digest != chunks.digest() => Err(other(&file.path)),
        _ => Ok(()),
    }
}

/// A restore that writes nothing: it is given every chunk of the plan's files, in their order.
pub(super) struct Trial<'a> {
    plan: &'a Plan,
    /// Of each part the last batch; none once the moment is reached.
    reached: Vec<Option<u64>>,
    has_keys: bool,
}

impl<'a> Trial<'a> {
    pub(super) fn of(plan: &'a Plan) -> Self {
        let reached = plan.base.parts.iter().map(|part| Some(part.position)).collect();
        Self { plan, reached, has_keys: false }
    }

    pub(super) fn take(
        &mut self,
        path: &Path,
        head: &Head,
        content: &[u8],
    ) -> Result<(), BackupError> {
        match head.kind {
            Kind::Rows => {
                let mut left = Content(content);
                while !left.is_empty() {
                    left.row().and_then(|(_, value)| value).ok_or_else(|| other(path))?;
                }
            }
            Kind::Keys => self.has_keys |= self.plan.keys(content, path)?.is_some(),
            Kind::Batches => {
                let part = usize::from(head.part);
                let Some(reached @ Some(_)) = self.reached.get_mut(part) else { return Ok(()) };
                let mut position = reached.unwrap_or_default();
                let more = self.plan.follow(part, &mut position, content, path, |_| Ok(()))?;
                *reached = more.then_some(position);
            }
        }
        Ok(())
    }

    /// Nothing may be missing at the end.
    pub(super) fn end(self) -> Result<(), BackupError> {
        for (part, reached) in self.reached.into_iter().enumerate() {
            reached.map_or(Ok(()), |position| self.plan.ended(part, position))?;
        }
        if self.has_keys { Ok(()) } else { Err(self.plan.no_keys()) }
    }
}
