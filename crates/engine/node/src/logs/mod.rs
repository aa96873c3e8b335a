//! Reading container logs: the CRI format, its end, and following it across rotation.

pub mod follow;
pub mod format;

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::Path,
};

pub use format::{Cutter, Options};

const BLOCK_BYTES: u64 = 64 << 10;

/// How much of the end of a log.
#[derive(Debug, Clone, Copy)]
pub struct Tail {
    pub lines: usize,
    pub bytes: usize,
}

/// Where the last `lines` lines of a file begin.
pub fn tail_offset(file: &mut File, lines: usize) -> io::Result<u64> {
    let end = file.seek(SeekFrom::End(0))?;
    if lines == 0 {
        return Ok(end);
    }
    let (mut position, mut seen) = (end, 0);
    let mut block = Vec::new();
    while position > 0 {
        let start = position.saturating_sub(BLOCK_BYTES);
        block.resize(usize::try_from(position - start).expect("a block fits"), 0);
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(&mut block)?;
        for (index, _) in block.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
            let after = start + u64::try_from(index).expect("an index fits") + 1;
            // The newline that ends the last line begins none.
            if after == end {
                continue;
            }
            seen += 1;
            if seen == lines {
                return Ok(after);
            }
        }
        position = start;
    }
    Ok(0)
}

/// The last lines of a log as plain text, cut to the last so many bytes; empty where there is no log.
pub fn tail_text(path: &Path, tail: Tail) -> String {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let offset = tail_offset(&mut file, tail.lines)?;
        file.seek(SeekFrom::Start(offset))?;
        let mut raw = Vec::new();
        file.read_to_end(&mut raw)?;
        let mut out = Vec::new();
        Cutter::new(Options::default()).cut(&raw, &mut out);
        Ok(out)
    };
    let bytes = read().unwrap_or_default();
    let start = bytes.len().saturating_sub(tail.bytes);
    String::from_utf8_lossy(&bytes[start..]).into_owned()
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use super::{Tail, tail_offset, tail_text};

    #[test]
    fn the_end_of_a_log() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("0.log");
        let line = |number: usize| format!("2026-01-01T00:00:00.000000000Z stdout F line {number}\n");
        let text: String = (0..5000).map(line).collect();
        fs::write(&path, &text).expect("writable");
        let tail = |lines, bytes| tail_text(&path, Tail { lines, bytes });
        assert_eq!(tail(2, 100), "line 4998\nline 4999\n");
        assert_eq!(tail(2, 6), " 4999\n");
        assert_eq!(tail(0, 100), "");
        assert_eq!(tail(9999, usize::MAX).lines().count(), 5000);
        let mut file = File::open(&path).expect("readable");
        let far = tail_offset(&mut file, 3000).expect("readable");
        assert!(text[usize::try_from(far).expect("it fits")..].starts_with(&line(2000)));
        assert_eq!(tail_text(&directory.path().join("absent"), Tail { lines: 1, bytes: 1 }), "");
    }
}
