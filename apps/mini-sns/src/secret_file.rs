//! Files that hold a secret, so that it stands in no list of processes.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::OFlags;

/// Bytes of such a file, at most.
const BYTES_MAX: u64 = 64 << 10;
/// What anybody but the owner may do with a file.
pub(crate) const OTHERS: u32 = 0o077;
/// The same but that the group may read it: so it shows where a service manager lets one more user
/// read a file that is root's.
pub(crate) const OTHERS_THAN_READERS: u32 = 0o037;

/// What is in the file, where nobody is allowed what is `refused`; else a line that says why not.
/// A pipe is none (`<(...)`, a FIFO, `/dev/stdin` behind a `|`): it cannot be read again at the
/// next start, and one that nobody writes to would never end. `/dev/stdin` behind a `<` is that
/// file.
pub(crate) fn read(path: &Path, refused: u32) -> Result<Vec<u8>, String> {
    let told = |why: &str| format!("{}: {why}", path.display());
    let unread = |error: io::Error| told(&format!("cannot be read: {error}"));
    // A FIFO is opened whether somebody writes to it or not; of a file it changes nothing.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(unread)?;
    let about = file.metadata().map_err(unread)?;
    if !about.is_file() {
        return Err(told("it is not a file"));
    }
    if about.permissions().mode() & refused != 0 {
        return Err(told("others than its owner may use it; mend that by chmod 600"));
    }
    let mut bytes = Vec::new();
    file.take(BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unread)?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(told("it is too large for a file with a secret"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::process::Command;

    use super::*;

    #[test]
    fn a_file_that_others_may_use_or_that_is_none_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        let tried = |mode: u32, refused: u32| {
            fs::write(&path, b"hush\n").unwrap();
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let read = read(&path, refused);
            fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
            read
        };
        for (mode, alone, with_readers) in [
            (0o600, true, true),
            (0o400, true, true),
            (0o440, false, true),
            (0o640, false, true),
            (0o620, false, false),
            (0o610, false, false),
            (0o604, false, false),
            (0o666, false, false),
        ] {
            for (refused, taken) in [(OTHERS, alone), (OTHERS_THAN_READERS, with_readers)] {
                match tried(mode, refused) {
                    Ok(bytes) => assert!(taken && bytes == b"hush\n", "{mode:o}"),
                    Err(line) => {
                        assert!(!taken && line.contains("chmod 600") && !line.contains("hush"));
                        assert!(line.contains("secret"), "{line}");
                    }
                }
            }
        }
        fs::write(&path, [b'x'; (64 << 10) + 1]).unwrap();
        assert!(read(&path, OTHERS).unwrap_err().contains("too large"));
        assert!(read(dir.path(), OTHERS).unwrap_err().contains("not a file"));
        assert!(read(&dir.path().join("none"), OTHERS).unwrap_err().contains("none"));
    }

    #[test]
    fn a_pipe_is_refused_and_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipe");
        let made = Command::new("mkfifo").args(["-m", "600"]).arg(&path).status().unwrap();
        assert!(made.success());
        assert!(read(&path, OTHERS).unwrap_err().contains("pipe: it is not a file"));
        // Nor where somebody writes to it.
        let writer = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        assert!(read(&path, OTHERS).unwrap_err().contains("pipe: it is not a file"));
        drop(writer);
        assert!(read(Path::new("/dev/null"), 0).unwrap_err().contains("it is not a file"));
    }
}
