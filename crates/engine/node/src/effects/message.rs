//! The last words of a container: its termination log, or the end of its output.

use std::{fs, io::Read, path::Path};

use crate::logs::{self, Tail};

const MAX_MESSAGE_BYTES: u64 = 4096;
const FALLBACK_LINES: usize = 80;
const FALLBACK_BYTES: usize = 2048;

/// What a container left to be shown in its status.
pub fn last_words(path: Option<&Path>, policy: Option<&str>, log: Option<&Path>, exit_code: i32) -> Option<String> {
    let written = path.and_then(read_start).filter(|text| !text.is_empty());
    if written.is_some() || policy != Some("FallbackToLogsOnError") || exit_code == 0 {
        return written;
    }
    let text = logs::tail_text(log?, Tail { lines: FALLBACK_LINES, bytes: FALLBACK_BYTES });
    Some(text).filter(|text| !text.is_empty())
}

fn read_start(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    fs::File::open(path).ok()?.take(MAX_MESSAGE_BYTES).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}
