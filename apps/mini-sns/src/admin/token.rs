//! The admin token: given as it is, or in a file that only its owner may read, so that it stands in
//! no list of processes.

use std::path::Path;

use crate::secret_file::{self, OTHERS};

/// Bytes of a token in a file, with the white space around it, at most.
const FILE_BYTES_MAX: usize = 4096;

/// The token that was given, of its two ways; one line where it cannot be had.
pub(crate) fn given(token: Option<&str>, file: Option<&Path>) -> Result<Option<String>, String> {
    match (token, file) {
        (Some(_), Some(_)) => {
            Err("admin_token_file: admin_token is given too; one of the two is wanted".to_owned())
        }
        (token, None) => Ok(token.map(str::to_owned)),
        (None, Some(file)) => read(file).map(Some),
    }
}

fn read(path: &Path) -> Result<String, String> {
    let bytes =
        secret_file::read(path, OTHERS).map_err(|line| format!("admin_token_file: {line}"))?;
    let token = bytes.trim_ascii();
    let fits = bytes.len() <= FILE_BYTES_MAX && !token.is_empty();
    // No other can be sent in a header.
    if !fits || !token.iter().all(u8::is_ascii_graphic) {
        let wanted = "one line of visible ASCII characters is wanted";
        return Err(format!("admin_token_file: {}: {wanted}", path.display()));
    }
    Ok(token.iter().copied().map(char::from).collect())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_token_is_read_from_a_file_of_one_s_own_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let tried = |text: &[u8], mode: u32| {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            given(None, Some(&path))
        };
        for mode in [0o600, 0o400] {
            assert_eq!(tried(b"hush-hush\n", mode), Ok(Some("hush-hush".to_owned())));
            fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        }
        for mode in [0o640, 0o604, 0o620, 0o666] {
            let line = tried(b"hush-hush", mode).unwrap_err();
            assert!(line.contains("chmod 600") && line.contains("token"), "{line}");
        }
        let long = [b'x'; 5000];
        for text in [&b""[..], b" \n", b"hush hush", b"hush\nhush", b"\xff\xfe", &long] {
            let line = tried(text, 0o600).unwrap_err();
            assert!(!line.contains('\n') && !line.contains("hush"), "{line}");
        }
        assert!(given(None, Some(dir.path())).unwrap_err().contains("not a file"));
        assert!(given(None, Some(&dir.path().join("none"))).unwrap_err().contains("none"));
        assert!(given(Some("hush"), Some(&path)).unwrap_err().contains("one of the two"));
        assert_eq!(given(Some("as it is"), None), Ok(Some("as it is".to_owned())));
        assert_eq!(given(None, None), Ok(None));
    }
}
